"""Encode results and configurations with objects of any type as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from prefect_tune.experiment.plain import nearest_json_value
from prefect_tune.text import in_words
from prefect_tune.trainable.runtime.auto_metrics import CONSTANTS
from prefect_tune.trainable.runtime.result_codec import decode_line, encode_result

#: Python refuses to write integers with more digits than some thousands.
_LARGEST = 10**4000


def to_json(value: Any, *, pretty: bool = False) -> bytes:
    """Encode a value as JSON, with ``NaN`` and ``Infinity`` as Python and Ray Tune do.

    numpy scalars and arrays become numbers and lists; any other object its `str`.

    Args:
        value: The value to encode.
        pretty: Indent the text and sort the keys.
    """
    options: dict[str, Any] = {"indent": 2, "sort_keys": True} if pretty else {}
    if not pretty:
        options["separators"] = (",", ":")
    try:
        return json.dumps(value, default=_nearest, **options).encode()
    except (TypeError, ValueError, RecursionError):
        # Some keys are not JSON's or cannot be sorted, or the value contains itself.
        return json.dumps(_with_text_keys(value), default=in_words, **options).encode()


def _nearest(value: Any) -> Any:
    return nearest_json_value(value, str)


def _with_text_keys(value: Any, depth: int = 0) -> Any:
    """Copy a value for JSON with all keys as text, and what is nested too deeply as text."""
    if depth > 50:
        return in_words(value)
    if isinstance(value, Mapping):
        return {in_words(key): _with_text_keys(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_with_text_keys(item, depth + 1) for item in value]
    if isinstance(value, int) and abs(value) > _LARGEST:
        return in_words(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else _nearest(value)


class SafeFallbackEncoder(json.JSONEncoder):
    """A JSON encoder for objects of any type: ``json.dumps(result, cls=SafeFallbackEncoder)``.

    numpy scalars and arrays become numbers and lists, any other object its `str`.

    Args:
        nan_str: The text for NaN of types other than `float`; the encoder writes Python's floats
            without calling `default`.
        **kwargs: Arguments of `json.JSONEncoder`.
    """

    def __init__(self, nan_str: str = "null", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nan_str = nan_str

    def default(self, value: Any) -> Any:
        """Return a value that JSON has a type for, in place of an object."""
        if hasattr(value, "dtype"):
            value = value.tolist()
        if isinstance(value, (bool, int, list)):
            return value
        if isinstance(value, (float, Fraction, Decimal)):
            return self.nan_str if math.isnan(value) else float(value)
        return str(value)


def result_line(result: Mapping[str, Any]) -> bytes:
    """Encode a result as a line of `result.json`."""
    try:
        return encode_result(result) + b"\n"
    except ValueError:  # it contains itself
        return to_json(result) + b"\n"


def as_json(value: Any) -> Any:
    """Return a value as it would be read back from `result.json`."""
    try:
        return decode_line(encode_result({"value": value}))["value"]
    except ValueError:  # it contains itself
        return in_words(value)


def constants_tail(result: Mapping[str, Any]) -> bytes:
    """Return the end of a line of `result.json`: the attempt's constants and the closing brace."""
    constants = {key: value for key, value in result.items() if key in CONSTANTS}
    if not constants:
        return b"}\n"
    return b"," + to_json(constants)[1:] + b"\n"
