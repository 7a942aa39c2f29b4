"""Checks of users' arguments; the errors name the argument and say what would be right."""

from __future__ import annotations

import math
import numbers
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.text import in_words


def is_number(value: Any) -> bool:
    """Return True for a real number that is not a bool; NaN and infinity are numbers."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def as_number(
    value: Any, argument: str, metric: str, right: str, trial_id: str | None = None
) -> float:
    """Return a value that a trial has reported as a float; infinity for one that is too large.

    Args:
        value: The value.
        argument: The argument that names the metric.
        metric: Name of the metric.
        right: What would be right, for an error.
        trial_id: Id of the trial, for an error.

    Raises:
        InvalidArgument: If the value cannot be converted to a number.
    """
    if type(value) is float:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        trial = "a trial" if trial_id is None else f"trial {trial_id}"
        raise InvalidArgument(
            argument,
            f"{trial} reported {in_words(value, repr)} ({type(value).__name__}) as {metric!r}.",
            right,
        ) from None


def check_number(
    argument: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float = math.inf,
) -> None:
    """Check that an argument is a finite number in its range.

    Raises:
        InvalidArgument: If the value is no such number.
    """
    if (
        not is_number(value)
        or not math.isfinite(value)
        or (above is not None and value <= above)
        or (at_least is not None and value < at_least)
        or value > at_most
    ):
        limit = "" if at_most == math.inf else f" and at most {at_most:g}"
        raise InvalidArgument(
            argument, f"got {value!r}.", f"Give a finite number{_range(above, at_least)}{limit}."
        )


def check_count(argument: str, value: Any, *, at_least: int, at_most: int | None = None) -> None:
    """Check that an argument is an integer in its range.

    Raises:
        InvalidArgument: If the value is no such integer.
    """
    is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_count or value < at_least or (at_most is not None and value > at_most):
        limit = "" if at_most is None else f" and at most {at_most}"
        raise InvalidArgument(
            argument, f"got {value!r}.", f"Give an integer{_range(None, at_least)}{limit}."
        )


def seconds_from(argument: str, value: Any) -> float:
    """Return a duration in seconds, from a number of seconds or a `datetime.timedelta`.

    Raises:
        InvalidArgument: If the value is not a finite duration above 0.
    """
    # A timedelta is recognised by its method: the pure packages must not import a clock.
    total_seconds = getattr(value, "total_seconds", None)
    seconds = total_seconds() if callable(total_seconds) else value
    if not is_number(seconds) or not math.isfinite(seconds) or seconds <= 0:
        raise InvalidArgument(argument, f"got {value!r}.", "Give seconds above 0, or a timedelta.")
    return float(seconds)


def check_flag(argument: str, value: Any) -> None:
    """Check that an argument is True or False (or 1 or 0).

    Raises:
        InvalidArgument: If the value is something else.
    """
    if not (isinstance(value, int) or type(value).__name__ in ("bool", "bool_")) or value not in (
        True,
        False,
    ):
        raise InvalidArgument(argument, f"got {value!r}.", "It is True or False.")


def check_type(argument: str, value: Any, kind: type, right: str) -> None:
    """Check that an argument is an object of a class.

    Args:
        argument: Name of the argument.
        value: Value of the argument.
        kind: The class.
        right: What would be right, e.g. ``a CheckpointConfig``.

    Raises:
        InvalidArgument: If the value is not an object of the class.
    """
    if not isinstance(value, kind):
        raise InvalidArgument(argument, f"got {value!r:.200}.", f"Give {right}.")


def check_not_blank(argument: str, value: str, right: str) -> None:
    """Check that a string is not empty or blank, as the empty fields of forms are.

    Args:
        argument: Name of the argument.
        value: The string.
        right: What would be right, e.g. ``an address``.

    Raises:
        InvalidArgument: If the string is empty or blank.
    """
    if not value.strip():
        raise InvalidArgument(
            argument, f"{value!r} is an empty text.", f"Give {right}, or leave it out."
        )


def check_callable(argument: str, value: Any, right: str) -> None:
    """Check that an argument can be called.

    Raises:
        InvalidArgument: If the value cannot be called.
    """
    if not callable(value):
        raise InvalidArgument(argument, f"got {value!r:.200}.", f"Give a function {right}.")


def check_metric_name(argument: str, value: Any) -> None:
    """Check that an argument can be the name of a reported metric.

    Raises:
        InvalidArgument: If the value is not a string, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(argument, f"got {value!r}.", "It is the name of a reported metric.")


def check_mode(value: Any, argument: str = "mode") -> str:
    """Check that an argument is ``min`` or ``max``, and return it.

    Raises:
        InvalidArgument: If the value is neither ``min`` nor ``max``.
    """
    if value not in ("min", "max"):
        raise InvalidArgument(argument, f"got {value!r}.", "It is 'min' or 'max'.")
    return str(value)


def _range(above: float | None, at_least: float | None) -> str:
    if above is not None:
        return f" above {above:g}"
    return "" if at_least is None else f" of at least {at_least:g}"
