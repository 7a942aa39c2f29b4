"""Events as journal records and back: JSON texts, one per event.

A record is ``{"event": <class>, "time": ..., <fields>}``. Enumerations are their values,
`Resources` is a list of pairs, bytes are base64. Reported results keep the JSON text that the trial
wrote, so that nothing is encoded twice; NaN and infinity are therefore written as Python's json
does.
"""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from typing import Any

import orjson

from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    CheckpointSaved,
    Control,
    ControlReceived,
    Event,
    Node,
    Outcome,
    ResultReported,
    SearchIdle,
    Tick,
    TrialSuggested,
)
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.resources import Resources

FORMAT_VERSION = 1

_CLASSES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        AttemptEnded,
        AttemptStarted,
        CapacityChanged,
        CheckpointSaved,
        ControlReceived,
        ResultReported,
        SearchIdle,
        Tick,
        TrialSuggested,
    )
}
#: Events that change nothing that a resumed experiment needs to know.
TRANSIENT: tuple[type[Event], ...] = (Tick, CapacityChanged)


def encode_event(event: Event) -> bytes:
    """An event as one line of JSON, without the newline."""
    if isinstance(event, ResultReported) and event.lines:
        head = {
            "event": "ResultReported",
            "time": event.time,
            "trial_id": event.trial_id,
            "attempt": event.attempt,
            "first_seq": event.first_seq,
            "awaiting": event.awaiting,
        }
        return orjson.dumps(head)[:-1] + b',"results":[' + b",".join(event.lines) + b"]}"
    body: dict[str, Any] = {"event": type(event).__name__}
    for field in fields(event):
        if field.name != "lines":
            body[field.name] = _plain(getattr(event, field.name))
    try:
        text = orjson.dumps(body, option=_OPTIONS)
    except (orjson.JSONEncodeError, TypeError):
        return json.dumps(body, default=repr).encode()
    # orjson writes NaN as null; only the standard library keeps it.
    return json.dumps(body, default=_scalar).encode() if _has_nan(body) else text


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def _scalar(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Resources):
        return [list(pair) for pair in value.milli]
    if isinstance(value, AttemptError):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Node):
        return {
            "address": value.address,
            "resources": _plain(value.resources),
            "devices": value.devices,
        }
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nan(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_nan(item) for item in value)
    return isinstance(value, float) and (value != value or value in (_INF, -_INF))


_INF = float("inf")


def decode_event(text: bytes) -> Event:
    """The event of a record.

    Raises:
        ValueError: If the text is not a record of this format.
    """
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = json.loads(text)
    cls = _CLASSES.get(body.pop("event", ""))
    if cls is None:
        raise ValueError(f"not a journal record of format {FORMAT_VERSION}: {text[:80]!r}")
    if "resources" in body:
        body["resources"] = _resources(body["resources"])
    if cls is AttemptEnded:
        body["outcome"] = Outcome(body["outcome"])
        body["error"] = _error(body["error"])
    elif cls is ControlReceived:
        body["action"] = Control(body["action"])
    elif cls is ResultReported:
        body["results"] = tuple(body["results"])
    elif cls is CapacityChanged:
        body["nodes"] = tuple(
            Node(n["address"], _resources(n["resources"]), tuple(n["devices"]))
            for n in body["nodes"]
        )
    return cls(**body)


def _resources(pairs: list[list[Any]]) -> Resources:
    return Resources(tuple((str(name), int(milli)) for name, milli in pairs))


def _error(body: dict[str, Any] | None) -> AttemptError | None:
    if body is None:
        return None
    pickled = body.pop("pickled")
    return AttemptError(**body, pickled=None if pickled is None else base64.b64decode(pickled))
