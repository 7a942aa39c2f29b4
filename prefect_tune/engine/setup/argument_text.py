"""The arguments of an experiment as text, so that a resume can say which of them have changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.stopper import Stopper
from prefect_tune.text import in_words

_LONGEST = 80
_MOST_LEAVES = 300
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def space_texts(space: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each parameter of a search space, by the parameter's path (``a/b``)."""
    texts = dict(_leaves(space, "")) if space else {}
    if len(texts) > _MOST_LEAVES:
        return {"": _short(repr(sorted(texts.items())))}
    return texts


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and "grid_search" not in value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}" if path else str(key))
    else:
        yield path, stable_text(value)


def stable_text(value: Any) -> str:
    """Return a short text for any value, the same for equal values of another process."""
    if isinstance(value, Stopper):
        plain = {k: v for k, v in vars(value).items() if isinstance(v, (bool, int, float, str))}
        text = f"{type(value).__name__}({', '.join(f'{k}={v!r}' for k, v in plain.items())})"
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(stable_text, value))}]"
    elif callable(value):
        text = str(getattr(value, "__qualname__", type(value).__qualname__))
    else:
        text = _ADDRESS.sub("", in_words(value, repr))
    return _short(text)


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST - 12]}...{digest}"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Say of each argument that has changed how it has changed.

    Args:
        before: The texts of the old values by name.
        now: The texts of the new values by name.
    """
    for name in before:
        if name not in now:
            yield f"{name} is gone"
        elif before[name] != now[name]:
            yield f"{name} was {before[name]}, is {now[name]}"
    for name in now:
        if name not in before:
            yield f"{name} is new"
