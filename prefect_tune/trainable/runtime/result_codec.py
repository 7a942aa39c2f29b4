"""Encodes results as lines of JSON, once in the trial; the lines are stored unchanged.

The fast path is orjson. It writes ``null`` for NaN and infinities, which would lose values that the
user reported, and refuses a few others; such results are encoded by the stdlib, with ``NaN``,
``Infinity`` and ``-Infinity`` literals.

Values that JSON cannot represent are sent next to the line, as they were reported: callbacks,
schedulers, stoppers and `last_result` get arrays, numpy scalars, tuples and users' objects.
Files and the journal contain the line only.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any, cast

import cloudpickle
import numpy as np
import orjson

from prefect_tune.experiment.plain import nearest_json_value, number_of, same_in_json
from prefect_tune.text import as_unicode

log = logging.getLogger(__name__)

#: Values with larger pickles are sent only in their JSON form.
MAX_PICKLED = 1 << 20
_FAST = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
#: Types whose values survive JSON unchanged, if orjson accepts them.
_PLAIN = frozenset({str, float, bool, int, type(None)})
_MOST_BITS = 8192
#: Entries sent as JSON only: the driver has the configuration, and `done` is only true or false.
_JSON_ONLY = frozenset({"config", "done"})
#: Separates the line of a report from the pickled values; a line contains no newline.
SEPARATOR = b"\n"
#: numpy scalar types that can be restored exactly from JSON, by their type character.
_SCALARS: dict[str, Callable[[Any], Any]] = {c: np.dtype(c).type for c in "?bhilqBHILQefd"}


def encode_result(result: Mapping[str, Any], known_nulls: int = 0) -> bytes:
    """Encode a result as one line of JSON (no line break, UTF-8).

    Values that JSON cannot represent are converted: scalars of array libraries to their
    ``item()``, arrays to their ``tolist()``, sets to lists, anything else to its ``repr``.

    Args:
        result: The metrics.
        known_nulls: How many values of `result` are known to be None; avoids a search for NaN.

    Raises:
        ValueError: If the result contains itself.
    """
    return _encode_fast(result, known_nulls) or _encode_exactly(result)


def encode_report(
    result: Mapping[str, Any], known_nulls: int = 0, reported: Mapping[str, Any] | None = None
) -> tuple[bytes, bytes]:
    """Encode a result as a line of JSON, and as a report: the line with values JSON would change.

    Args:
        result: The metrics.
        known_nulls: See `encode_result`.
        reported: The metrics from user code, if known; the others then need no check.

    Raises:
        ValueError: If the result contains itself.
    """
    line = _encode_fast(result, known_nulls)
    if line is None:
        line = _encode_exactly(result)
    elif _PLAIN.issuperset(map(type, (result if reported is None else reported).values())):
        return line, line
    originals: dict[str, str | bytes] = {}
    for name, value in result.items():
        if type(name) is str and name not in _JSON_ONLY and not same_in_json(value):
            form = _pack_value(value)
            if form is not None:
                originals[name] = form
    return line, line + SEPARATOR + pickle.dumps(originals, 5) if originals else line


def decode_report(report: bytes) -> tuple[bytes, dict[str, Any]]:
    """Decode a report of `encode_report` into its line and the result.

    Args:
        report: A report from a process of this experiment; it may be unpickled.

    Raises:
        ValueError: If the line is not a JSON object.
    """
    end = report.find(SEPARATOR)
    if end < 0:
        return report, decode_line(report)
    line = report[:end]
    result = decode_line(line)
    for name, form in pickle.loads(report[end + 1 :]).items():
        try:
            value = result[name]
            result[name] = pickle.loads(form) if isinstance(form, bytes) else _SCALARS[form](value)
        except Exception as error:
            # Users' classes may raise anything; the value then stays in its JSON form.
            log.debug("%s stays in its JSON form: %s: %s", name, type(error).__name__, error)
    return line, result


def _encode_fast(result: Mapping[str, Any], known_nulls: int) -> bytes | None:
    """Encode a result with orjson; None if that would lose something."""
    try:
        line = orjson.dumps(result, nearest_json_value, _FAST)
    except TypeError:  # integers beyond 64 bits, exotic keys, lone surrogates, deep nesting
        return None
    # An unexpected null may be a non-finite number, but also a None or a part of a text.
    if line.count(b"null") != known_nulls and _has_non_finite(result):
        return None
    return line


def decode_line(line: bytes) -> dict[str, Any]:
    """Decode a line of `encode_result`; integers beyond 64 bits become floats.

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
        return json.dumps(_exact_json_value(result), separators=(",", ":")).encode()
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
    plain = nearest_json_value(value)
    return plain is not value and not isinstance(plain, str) and _has_non_finite(plain)


def _exact_json_value(value: Any) -> Any:
    """Copy a value into JSON's own types, with text keys; NaN and infinity stay floats."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, int):
        # Python refuses to format integers with thousands of digits.
        return int(value) if value.bit_length() <= _MOST_BITS else number_of(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_json_key(key): _exact_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_exact_json_value(item) for item in value]
    if isinstance(value, np.ndarray):
        return _exact_json_value(value.tolist())
    try:  # types that orjson knows: dataclasses, dates, UUIDs, enumerations
        return orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError):
        return _exact_json_value(nearest_json_value(value))


def _json_key(key: Any) -> str:
    """Convert a key as JSON does: ``true``, ``null``, ``1``; `str` of anything else."""
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    return as_unicode(str(key))


def _pack_value(value: Any) -> str | bytes | None:
    """Pack a value that JSON changes: a numpy scalar's type character, or a pickle.

    Returns None for values sent as JSON only: unpicklable or large ones, and see `_may_be_pickled`.
    """
    if isinstance(value, np.generic) and value.dtype.char in _SCALARS:
        return value.dtype.char
    if not _may_be_pickled(value):
        return None
    for dumps in (pickle.dumps, cloudpickle.dumps):  # the second supports classes of scripts
        try:
            pickled: bytes = dumps(value, protocol=5)
        except Exception:  # users' classes may raise anything
            continue
        return pickled if len(pickled) <= MAX_PICKLED else None
    return None


def _may_be_pickled(value: Any) -> bool:
    """Return False for values that the driver should get in their JSON form only.

    Mappings other than dicts would hide their nested values. Arrays of libraries other than numpy
    would make the driver load the library, which may occupy a GPU.
    """
    if isinstance(value, dict):
        return all(map(_may_be_pickled, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_may_be_pickled, value))
    if isinstance(value, np.ndarray):
        return value.nbytes <= MAX_PICKLED
    return not isinstance(value, Mapping) and not hasattr(type(value), "__dlpack__")
