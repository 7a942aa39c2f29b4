"""Checks of what stoppers are configured with, and of the results they read."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument, MissingMetric


def check_count(argument: str, value: Any, at_least: int) -> None:
    """Check that an argument is an integer in its range.

    Raises:
        InvalidArgument: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < at_least:
        raise InvalidArgument(
            argument, f"got {value!r}.", f"Give an integer of at least {at_least}."
        )


def check_positive(argument: str, value: Any) -> None:
    """Check that an argument is a finite number above 0.

    Raises:
        InvalidArgument: If it is not.
    """
    if not is_number(value) or not math.isfinite(value) or value <= 0:
        raise InvalidArgument(argument, f"got {value!r}.", "Give a finite number above 0.")


def check_metric_name(value: Any) -> None:
    """Check the name of a metric.

    Raises:
        InvalidArgument: If it is not a string or empty.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument("metric", f"got {value!r}.", "It is the name of a reported metric.")


def check_mode(value: Any) -> None:
    """Check a mode.

    Raises:
        InvalidArgument: If it is neither ``min`` nor ``max``.
    """
    if value not in ("min", "max"):
        raise InvalidArgument("mode", f"got {value!r}.", "It is 'min' or 'max'.")


def is_number(value: Any) -> bool:
    """True for a real number that is not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def metric_value(trial_id: str, result: Mapping[str, Any], metric: str) -> float:
    """The value of a metric in a result.

    Raises:
        MissingMetric: If the result does not have it.
        InvalidArgument: If it cannot be read as a number.
    """
    if metric not in result:
        raise MissingMetric(
            f"Stopping criterion {metric!r} is not in the result of trial {trial_id}. "
            f"It has: {', '.join(sorted(map(str, result))) or 'nothing'}."
        )
    value = result[metric]
    if type(value) is float:
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(
            "stop",
            f"trial {trial_id} reported {value!r} ({type(value).__name__}) as {metric!r}.",
            "Stop by a metric that is a number.",
        ) from None
