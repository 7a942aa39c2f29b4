"""Results as JSON texts: one line per report, written once in the trial and kept as it is.

The fast path is orjson. It writes ``null`` for NaN and infinities, which would lose what the user
reported, and refuses a few values; such results take the stdlib's path with its ``NaN``,
``Infinity`` and ``-Infinity`` literals.

What JSON has no form for travels beside the line, as it was reported: callbacks, schedulers,
stoppers and `last_result` get arrays, numpy scalars, tuples and objects of users' classes so.
Files and the journal have the line only.
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

#: A value that takes more as a pickle arrives as what JSON makes of it.
MAX_PICKLED = 1 << 20
_FAST = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
#: Types whose values JSON gives back as they were, if orjson takes them.
_PLAIN = frozenset({str, float, bool, int, type(None)})
_MOST_BITS = 8192
#: The configuration is known, and `done` is a truth value whatever its type.
_NEVER_ORIGINAL = frozenset({"config", "done"})
#: Between the line of a report and the rest; no line has one.
SEPARATOR = b"\n"
#: numpy's scalars that are the same after a way through JSON, by the character of their type.
_SCALARS: dict[str, Callable[[Any], Any]] = {c: np.dtype(c).type for c in "?bhilqBHILQefd"}


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
    return _encode_fast(result, known_nulls) or _encode_exactly(result)


def encode_report(
    result: Mapping[str, Any], known_nulls: int = 0, reported: Mapping[str, Any] | None = None
) -> tuple[bytes, bytes]:
    """A result as a line of JSON, and as what travels: the line and the values it does not show.

    Args:
        result: The metrics.
        known_nulls: See `encode_result`.
        reported: Those of them that user code has reported, if known; saves looking at the others.

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
        if type(name) is str and name not in _NEVER_ORIGINAL and not same_in_json(value):
            form = _form_of(value)
            if form is not None:
                originals[name] = form
    return line, line + SEPARATOR + pickle.dumps(originals, 5) if originals else line


def decode_report(report: bytes) -> tuple[bytes, dict[str, Any]]:
    """The line of what `encode_report` lets travel, and the result.

    Args:
        report: Must come from a process of this experiment, since it may be unpickled.

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
            # Whatever classes of users raise; what JSON has made of the value stays.
            log.debug("%s stays as JSON has it: %s: %s", name, type(error).__name__, error)
    return line, result


def _encode_fast(result: Mapping[str, Any], known_nulls: int) -> bytes | None:
    """The line that orjson writes; None if it cannot write it exactly."""
    try:
        line = orjson.dumps(result, nearest_json_value, _FAST)
    except TypeError:  # integers beyond 64 bits, exotic keys, lone surrogates, deep nesting
        return None
    # A null that nobody put there is how a non-finite number shows; None and texts may look alike.
    if line.count(b"null") != known_nulls and _has_non_finite(result):
        return None
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
        # Python does not write integers of thousands of digits.
        return int(value) if value.bit_length() <= _MOST_BITS else number_of(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key): _exact_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_exact_json_value(item) for item in value]
    if isinstance(value, np.ndarray):
        return _exact_json_value(value.tolist())
    try:  # what orjson knows by itself: dataclasses, dates, UUIDs, enumerations
        return orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError):
        return _exact_json_value(nearest_json_value(value))


def _key(key: Any) -> str:
    """A key as JSON writes it: ``true``, ``null``, ``1``; `str` of anything else."""
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    return as_unicode(str(key))


def _form_of(value: Any) -> str | bytes | None:
    """What makes a value again: the type of a scalar, which JSON has the value of, or a pickle.

    None for what travels as JSON only: what cannot be pickled or is large, and see `_may_travel`.
    """
    if isinstance(value, np.generic) and value.dtype.char in _SCALARS:
        return value.dtype.char
    if not _may_travel(value):
        return None
    for dumps in (pickle.dumps, cloudpickle.dumps):  # the second knows classes of scripts
        try:
            pickled: bytes = dumps(value, protocol=5)
        except Exception:  # whatever classes of users raise
            continue
        return pickled if len(pickled) <= MAX_PICKLED else None
    return None


def _may_travel(value: Any) -> bool:
    """False for what the driver is better off without.

    Mappings of other classes than dict would hide what is nested in them. Arrays of other libraries
    than numpy would have the driver load the library, and maybe take a GPU.
    """
    if isinstance(value, dict):
        return all(map(_may_travel, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_may_travel, value))
    if isinstance(value, np.ndarray):
        return value.nbytes <= MAX_PICKLED
    return not isinstance(value, Mapping) and not hasattr(type(value), "__dlpack__")
