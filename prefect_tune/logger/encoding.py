"""Encode results and configurations with objects of any type as JSON, or as YAML for people."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from prefect_tune.experiment.plain import to_json
from prefect_tune.text import in_words
from prefect_tune.trainable.runtime.metrics import CONSTANTS
from prefect_tune.trainable.runtime.result_codec import decode_line, encode_result

_COMPACT = (",", ":")


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
        return to_json(result, separators=_COMPACT) + b"\n"


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
    return b"," + to_json(constants, separators=_COMPACT)[1:] + b"\n"


_NOT_SHOWN = frozenset({"config", "hist_stats"})


def pretty_print(result: Mapping[str, Any], exclude: Collection[str] | None = None) -> str:
    """Return a result as sorted YAML, without its configuration and values that are None.

    Args:
        result: A result, or any other dict.
        exclude: Further keys to leave out.

    Returns:
        Lines of text, each with a line end.
    """
    import yaml

    left_out = _NOT_SHOWN.union(exclude or ())
    shown = {
        key: value for key, value in result.items() if key not in left_out and value is not None
    }
    text: str = yaml.safe_dump(json.loads(to_json(shown)), default_flow_style=False)
    return text
