"""The experiment tag: a trial's number and parameters in one short, file-name-safe text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]+")


def format_tag(index: int, resolved: Mapping[str, Any]) -> str:
    """Return the experiment tag of a trial, such as ``"3_lr=0.0100,units=64"`` for trial 3.

    Args:
        index: Number of the trial.
        resolved: The trial's variables by path ("optimizer/lr"); only the last part is shown.

    Returns:
        The tag. Floats have four decimals, characters unfit for file names become "_".
    """
    if not resolved:
        return str(index)
    tag = f"{index}_"
    for path, label in _labels(tuple(resolved)):
        value = resolved[path]
        tag += f"{label}={value:.4f}," if type(value) is float else f"{label}={_clean(value)},"
    return tag[:-1]


@lru_cache(maxsize=256)
def _labels(paths: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the paths in order, each with its last part."""
    return [(path, _clean(path.rpartition("/")[2])) for path in sorted(paths)]


def _clean(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return _UNSAFE.sub("_", str(value)).strip("_")
