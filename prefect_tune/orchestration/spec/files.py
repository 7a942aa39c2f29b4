"""Reads experiments from YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.spec.experiment import ExperimentSpec


def example() -> str:
    """Return the text of a commented example."""
    return Path(__file__).with_name("example.yaml").read_text(encoding="utf-8")


def read_spec(path: str | Path, changes: dict[str, Any] | None = None) -> ExperimentSpec:
    """Read an experiment from a YAML file.

    Args:
        path: The file.
        changes: Values in place of the file's, by field; a dot leads into a field, as in
            ``budget.trials``.

    Raises:
        InvalidArgument: If the file cannot be read, or a value in it is wrong.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgument("file", f"`{path}` cannot be read ({error}).") from error
    if not isinstance(values, dict):
        raise InvalidArgument(
            "file",
            f"`{path}` has no fields.",
            "`prefect-tune init` writes an example with every field.",
        )
    for field, value in (changes or {}).items():
        *parents, name = field.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise InvalidArgument(field, f"`{parent}` has no fields.")
        inner[name] = value
    return ExperimentSpec.parse(values)
