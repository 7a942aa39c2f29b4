"""Checks of the numbers that schedulers are configured with."""

from __future__ import annotations

import math
import numbers
from typing import Any

from prefect_tune.error import InvalidArgument


def check_number(
    argument: str, value: Any, *, above: float | None = None, at_least: float | None = None
) -> None:
    """Check that an argument is a finite number in its range.

    Raises:
        InvalidArgument: If it is not.
    """
    wanted = _wanted("a finite number", above, at_least)
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InvalidArgument(argument, f"got {value!r}.", wanted)
    if (above is not None and value <= above) or (at_least is not None and value < at_least):
        raise InvalidArgument(argument, f"got {value!r}.", wanted)


def check_count(argument: str, value: Any, *, at_least: int) -> None:
    """Check that an argument is an integer in its range.

    Raises:
        InvalidArgument: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < at_least:
        raise InvalidArgument(argument, f"got {value!r}.", _wanted("an integer", None, at_least))


def _wanted(kind: str, above: float | None, at_least: float | None) -> str:
    if above is not None:
        return f"Give {kind} above {above:g}."
    return f"Give {kind}." if at_least is None else f"Give {kind} of at least {at_least:g}."
