"""What values are: the same in JSON, or a number, or neither."""

from __future__ import annotations

import math
from typing import Any

_HUGE = 10**308
#: Types that JSON gives back as they were; integers within 64 bits only.
_SAME_IN_JSON = frozenset({str, float, bool, int, type(None)})


def same_in_json(value: Any) -> bool:
    """True if a value comes back from JSON as exactly what it was."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and same_in_json(item) for key, item in value.items())
    if kind is list:
        return all(map(same_in_json, value))
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return kind in _SAME_IN_JSON


def number_of(value: Any) -> float | int | None:
    """A value as a number of Python that `float` takes; None if it is no number.

    Truth values are 0 and 1, integers beyond the range of floats infinite.

    Args:
        value: Anything; scalars of numpy and other array libraries are numbers, too.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value) if -_HUGE < value < _HUGE else math.copysign(math.inf, value > 0 or -1)
    try:
        scalar = value.item() if value.shape == () else None
    except Exception:  # it is the user's class
        return None
    return number_of(scalar) if isinstance(scalar, (int, float)) else None


def finite_number(value: Any) -> float | int | None:
    """`number_of` a value if it is neither NaN nor infinite, else None."""
    number = number_of(value)
    return number if number is not None and math.isfinite(number) else None
