"""Tests whether a value is a number and whether JSON keeps it, and encodes any value as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from prefect_tune.text import in_words

_HUGE = 10**308
#: Python refuses to write integers with more digits than some thousands.
_WRITABLE = 10**4000
#: Levels of containers beyond which a value becomes text: it may contain itself.
_DEEPEST = 50
#: Types whose values come back from JSON unchanged, integers only within 64 bits.
_SAME_IN_JSON = frozenset({str, float, bool, int, type(None)})


def same_in_json(value: Any) -> bool:
    """Return True if a value comes back from JSON unchanged, with the same types."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and same_in_json(item) for key, item in value.items())
    if kind is list:
        return all(map(same_in_json, value))
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return kind in _SAME_IN_JSON


def number_of(value: Any) -> float | int | None:
    """Return a value as a Python number that fits a float; None if it is no number.

    Booleans become 0 and 1, integers beyond the range of floats infinite.

    Args:
        value: Anything; scalars of numpy and other array libraries are numbers, too.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value) if -_HUGE < value < _HUGE else math.copysign(math.inf, value > 0 or -1)
    if value is None:
        return None  # without the exception, which takes much longer
    try:
        scalar = value.item() if value.shape == () else None
    except Exception:  # a user's class may raise anything
        return None
    return number_of(scalar) if isinstance(scalar, (int, float)) else None


def finite_number(value: Any) -> float | int | None:
    """Return a value as a Python number; None if it is no number, NaN or infinite."""
    number = number_of(value)
    return number if number is not None and math.isfinite(number) else None


def strict_json_value(
    value: Any, text: Callable[[Any], str] = in_words, largest: float = _HUGE
) -> Any:
    """Copy a value into what JSON without ``NaN`` can express; anything else becomes text.

    Args:
        value: Any value; numpy's scalars become numbers.
        text: Makes text of keys, of NaN and infinity, and of values that JSON has no type for.
        largest: The largest absolute value of a number that is not made text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {text(key): strict_json_value(item, text, largest) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json_value(item, text, largest) for item in value]
    number = finite_number(value)
    return text(value) if number is None or abs(number) > largest else number


def nearest_json_value(value: Any, describe: Callable[[Any], str] = repr) -> Any:
    """Return the nearest value with a JSON type, for the ``default`` of JSON encoders.

    Args:
        value: A value that an encoder does not know: sets and arrays become lists, array scalars
            numbers.
        describe: Makes text of any other object: `str` or `repr`.
    """
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    for convert in ("item", "tolist"):
        # Scalars and arrays of numpy, torch, jax; tensorflow's have only numpy().
        try:
            converted = getattr(value, convert)()
        except Exception:  # the value may be of a user's class with such a method
            continue
        if isinstance(converted, (bool, int, float, str, list, type(None))):
            return converted
    if callable(getattr(value, "numpy", None)):
        import numpy as np

        try:
            return np.asarray(value.numpy()).tolist()
        except Exception:  # likewise
            pass
    return in_words(value, describe)


def to_json(value: Any, describe: Callable[[Any], str] = str, **options: Any) -> bytes:
    """Encode any value as JSON, with ``NaN`` and ``Infinity`` as Python and Ray Tune do.

    numpy scalars and arrays become numbers and lists. Any other object becomes text, and so do keys
    that JSON has no type for, integers of thousands of digits, and what is nested too deeply.

    Args:
        value: The value to encode.
        describe: Makes text of an object: `str` or `repr`.
        **options: Arguments of `json.dumps`.
    """

    def nearest(item: Any) -> Any:
        return nearest_json_value(item, describe)

    try:
        return json.dumps(value, default=nearest, **options).encode()
    except (TypeError, ValueError, RecursionError):
        # Some keys are not JSON's or cannot be sorted, or the value contains itself.
        return json.dumps(_writable(value, describe), default=nearest, **options).encode()


def _writable(value: Any, describe: Callable[[Any], str], depth: int = 0) -> Any:
    """Copy a value, with all keys as text, for `json.dumps`."""
    if depth > _DEEPEST or (isinstance(value, int) and abs(value) > _WRITABLE):
        return in_words(value, describe)
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else in_words(key, describe): (
                _writable(item, describe, depth + 1)
            )
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_writable(item, describe, depth + 1) for item in value]
    known = isinstance(value, (str, int, float, bool, type(None)))
    return value if known else nearest_json_value(value, describe)
