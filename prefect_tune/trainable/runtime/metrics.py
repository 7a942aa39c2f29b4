"""Reads metrics that user code has reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.result import DEFAULT_METRIC

_MISSING = object()


def as_metrics(value: Any) -> Mapping[str, Any]:
    """Return a value that user code reported, returned or yielded as a dict of metrics.

    Raises:
        InvalidArgument: If `value` is neither a dict nor a number.
    """
    if isinstance(value, Mapping):
        return value
    if is_number(value):
        return {DEFAULT_METRIC: value}
    raise InvalidArgument(
        "metrics",
        f"a result is a dict of metrics or a number, not {type(value).__name__} ({value!r:.80}).",
        "Use e.g. {'loss': 0.1}.",
    )


def is_number(value: Any) -> bool:
    """Return True for numbers and for scalars of array libraries."""
    if isinstance(value, (int, float)):
        return True
    return getattr(value, "shape", None) == () and hasattr(value, "__float__")


def lookup(result: Mapping[str, Any], metric: str) -> Any:
    """Return a metric by its flat name (``a/b`` for nested ones); array scalars become numbers."""
    value = result.get(metric, _MISSING)
    if value is _MISSING:
        value = result
        for part in metric.split("/"):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
    if isinstance(value, (int, float)) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except Exception:  # an array of several values, or an object of a user's class
        return value
