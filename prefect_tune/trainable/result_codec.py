"""Results as JSON texts: one line per report, written once in the trial and kept as it is.

The fast path is orjson. It writes ``null`` for NaN and infinities, which would lose what the user
reported, and refuses a few values; such results take the stdlib's path with its ``NaN``,
``Infinity`` and ``-Infinity`` literals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

import numpy as np
import orjson

from prefect_tune.experiment.words import as_unicode, in_words

_FAST = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def encode_result(result: Mapping[str, Any], known_nulls: int = 0) -> bytes:
    """A result as one line of JSON (no line break, UTF-8).

    Values that JSON has no form for become the nearest thing: scalars of array libraries their
    ``item()``, arrays their ``tolist()``, sets lists, anything else its ``repr``.

    Args:
        result: The metrics.
        known_nulls: How many values of `result` are known to be None; saves looking for NaN.

    Raises:
        ValueError: If the result contains itself.
    """
    try:
        line = orjson.dumps(result, _jsonable, _FAST)
    except TypeError:  # integers beyond 64 bits, exotic keys, lone surrogates, deep nesting
        return _encode_exactly(result)
    # A null that nobody put there is how a non-finite number shows; None and texts may look alike.
    if line.count(b"null") != known_nulls and _has_non_finite(result):
        return _encode_exactly(result)
    return line


def decode_line(line: bytes) -> dict[str, Any]:
    """The inverse of `encode_result`; integers beyond 64 bits come back as floats.

    Raises:
        ValueError: If the line is not a JSON object.
    """
    try:
        decoded = orjson.loads(line)
    except orjson.JSONDecodeError:
        decoded = json.loads(line)
    if not isinstance(decoded, dict):
        raise ValueError(f"not a result, which would be a JSON object: {line[:80]!r}")
    return cast("dict[str, Any]", decoded)


def _encode_exactly(result: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(_plain(result), separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("the result contains itself or is nested too deeply") from None


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, (float, np.floating)):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_has_non_finite(item) for item in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_has_non_finite(item) for item in value)
    if value is None or isinstance(value, (str, bytes, int)):
        return False
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fc" and not bool(np.isfinite(value).all())
    plain = _jsonable(value)
    return plain is not value and not isinstance(plain, str) and _has_non_finite(plain)


def _jsonable(value: Any) -> Any:
    """The nearest value with a JSON form; also the hook that orjson calls for unknown types."""
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
        except (AttributeError, TypeError, ValueError, RuntimeError):
            continue
        if isinstance(converted, (bool, int, float, str, list, type(None))):
            return converted
    as_numpy = getattr(value, "numpy", None)
    if callable(as_numpy):
        try:
            return np.asarray(as_numpy()).tolist()
        except (TypeError, ValueError, RuntimeError):
            pass
    return in_words(value, repr)


def _plain(value: Any) -> Any:
    """A copy of `value` made of JSON's own types only, with text keys."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    try:  # what orjson knows by itself: dataclasses, dates, UUIDs, enumerations
        return orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError):
        return _plain(_jsonable(value))


def _key(key: Any) -> str:
    """A key as JSON writes it: ``true``, ``null``, ``1``; `str` of anything else."""
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    return as_unicode(str(key))
