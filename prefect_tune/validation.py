"""Checks of arguments, with errors that name the argument and say what would be right."""

from __future__ import annotations

import math
import numbers
from typing import Any

from prefect_tune.error import InvalidArgument


def is_number(value: Any) -> bool:
    """True for a real number, NaN and infinity included, that is not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_number(
    argument: str, value: Any, *, above: float | None = None, at_least: float | None = None
) -> None:
    """Check that an argument is a finite number in its range.

    Raises:
        InvalidArgument: If it is not.
    """
    if (
        not is_number(value)
        or not math.isfinite(value)
        or (above is not None and value <= above)
        or (at_least is not None and value < at_least)
    ):
        raise InvalidArgument(
            argument, f"got {value!r}.", f"Give a finite number{_range(above, at_least)}."
        )


def check_count(argument: str, value: Any, *, at_least: int, at_most: int | None = None) -> None:
    """Check that an argument is an integer in its range.

    Raises:
        InvalidArgument: If it is not.
    """
    is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_count or value < at_least or (at_most is not None and value > at_most):
        limit = "" if at_most is None else f" and at most {at_most}"
        raise InvalidArgument(
            argument, f"got {value!r}.", f"Give an integer{_range(None, at_least)}{limit}."
        )


def seconds_from(argument: str, value: Any) -> float:
    """Read a time as users give it: a number of seconds or a `datetime.timedelta`.

    Raises:
        InvalidArgument: If it is not a finite time above 0.
    """
    # A timedelta by its look: the pure packages may not get at a clock.
    total_seconds = getattr(value, "total_seconds", None)
    seconds = total_seconds() if callable(total_seconds) else value
    if not is_number(seconds) or not math.isfinite(seconds) or seconds <= 0:
        raise InvalidArgument(argument, f"got {value!r}.", "Give seconds above 0, or a timedelta.")
    return float(seconds)


def check_flag(argument: str, value: Any) -> None:
    """Check that an argument is True or False (or 1 or 0).

    Raises:
        InvalidArgument: If it is something else.
    """
    if not (isinstance(value, int) or type(value).__name__ in ("bool", "bool_")) or value not in (
        True,
        False,
    ):
        raise InvalidArgument(argument, f"got {value!r}.", "It is True or False.")


def check_type(argument: str, value: Any, kind: type, right: str) -> None:
    """Check that an argument is an object of a class.

    Args:
        argument: Its name.
        value: Its value.
        kind: The class.
        right: What would be right, e.g. ``a CheckpointConfig``.

    Raises:
        InvalidArgument: If it is not.
    """
    if not isinstance(value, kind):
        raise InvalidArgument(argument, f"got {value!r:.200}.", f"Give {right}.")


def check_not_blank(argument: str, value: str, right: str) -> None:
    """Check that an argument, a text, says something: forms give empty ones.

    Args:
        argument: Its name.
        value: The text.
        right: What would be right, e.g. ``an address``.

    Raises:
        InvalidArgument: If it is empty or blank.
    """
    if not value.strip():
        raise InvalidArgument(
            argument, f"{value!r} is an empty text.", f"Give {right}, or leave it out."
        )


def check_callable(argument: str, value: Any, right: str) -> None:
    """Check that an argument can be called.

    Raises:
        InvalidArgument: If it cannot.
    """
    if not callable(value):
        raise InvalidArgument(argument, f"got {value!r:.200}.", f"Give a function {right}.")


def check_metric_name(argument: str, value: Any) -> None:
    """Check that an argument can be the name of a reported metric.

    Raises:
        InvalidArgument: If it is not a string, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(argument, f"got {value!r}.", "It is the name of a reported metric.")


def check_mode(value: Any, argument: str = "mode") -> str:
    """Check a mode and return it.

    Raises:
        InvalidArgument: If it is neither ``min`` nor ``max``.
    """
    if value not in ("min", "max"):
        raise InvalidArgument(argument, f"got {value!r}.", "It is 'min' or 'max'.")
    return str(value)


def _range(above: float | None, at_least: float | None) -> str:
    if above is not None:
        return f" above {above:g}"
    return "" if at_least is None else f" of at least {at_least:g}"
