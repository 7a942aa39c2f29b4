"""Encodes events as journal records, one JSON text for each, and decodes them.

A record is ``{"event": <class>, "time": ..., <fields>}``. Enumerations are written as their values,
`Resources` as a list of pairs, a `PlacementGroup` as a dict of such lists, bytes as base64. A
configuration with values that JSON cannot represent is written as a signed pickle, too, and so is
the exception of a failed attempt: a person who can write the journal must not be able to run code
where it is read. Results keep the JSON text that the trial wrote, so that nothing is encoded twice;
NaN and infinity are therefore written as Python's json does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import orjson

from prefect_tune.coordinator import events
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    Control,
    EndedPolicy,
    Event,
    Fate,
    Outcome,
    ResultReported,
    SearchIdle,
    SearchSaved,
    TrialRedirected,
    TrialSuggested,
)
from prefect_tune.error import StorageError
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.experiment.pickling.large import shortened
from prefect_tune.experiment.pickling.plain import dump, is_plain
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.experiment.plain import same_in_json, to_json
from prefect_tune.resources import PlacementGroup, Resources

# Purposes of signatures, so that a pickle of one purpose is not accepted for the other.
_CONFIG = "configuration"
_ERROR = "exception"

#: Events that are not recorded: a replay does not need them.
_UNRECORDED = (Event, CapacityChanged, SearchIdle, SearchSaved)
#: The events that the journal has.
_CLASSES: dict[str, type[Event]] = {
    name: cls
    for name, cls in vars(events).items()
    if isinstance(cls, type) and issubclass(cls, Event) and cls not in _UNRECORDED
}
#: Fields that are left out of records if they are None, False, 0 or empty.
_OPTIONAL = frozenset(
    (
        "custom_name error fate lost only_errored resources restart_unfinished stop uploading "
        "values"
    ).split()
)


def encode_event(event: Event, pickles: Pickles = OF_THIS_PROCESS) -> bytes:
    """Return an event as one line of JSON, without the newline.

    Args:
        event: The event.
        pickles: Signs pickles of values that JSON cannot represent.
    """
    if isinstance(event, ResultReported) and event.lines:
        head: dict[str, Any] = {
            "event": "ResultReported",
            "time": event.time,
            "trial_id": event.trial_id,
            "attempt": event.attempt,
            "first_seq": event.first_seq,
            "awaiting": event.awaiting,
        }
        if event.stop:
            head["stop"] = True
        return orjson.dumps(head)[:-1] + b',"results":[' + b",".join(event.lines) + b"]}"
    body: dict[str, Any] = {"event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name in _OPTIONAL and (value is None or value == 0):
            continue
        if field.name != "lines":
            body[field.name] = _plain(value)
    if isinstance(event, TrialSuggested):
        if not all([_shorten(body, "config"), _shorten(body, "resolved")]):
            body |= _pickled((event.config, event.resolved), pickles)
    elif isinstance(event, TrialRedirected):
        if not _shorten(body, "config"):
            body |= _pickled(event.config, pickles)
    elif isinstance(event, AttemptEnded) and event.error is not None and event.error.pickled:
        body["error"]["signature"] = pickles.sign(_ERROR, event.error.pickled)
    return to_json(body, repr, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, PlacementGroup):
        return {"bundles": _plain(value.bundles), "strategy": value.strategy}
    if isinstance(value, Resources):
        return [list(pair) for pair in value.milli]
    if isinstance(value, (AttemptError, TrialCheckpoint, Progress)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _shorten(body: dict[str, Any], name: str) -> bool:
    """Shorten large values of a configuration in `body`; return True if JSON keeps all of it."""
    value = body[name]
    body[name] = shortened(value)
    return body[name] is value and same_in_json(value)


def _pickled(value: Any, pickles: Pickles) -> dict[str, str]:
    try:
        data = dump(value, pickles.large)
    except StorageError:
        raise
    except Exception:
        # A user's object may raise anything. It cannot be sent to a trial process either, so the
        # record has only its text.
        return {}
    signature = pickles.sign(_CONFIG, data)
    return {"pickled": base64.b64encode(data).decode(), "signature": signature}


def decode_event(
    text: bytes, pickles: Pickles = OF_THIS_PROCESS, *, skip_unloadable: bool = False
) -> Event:
    """Return the event of a record.

    Args:
        text: The record.
        pickles: Decides which pickles may be loaded.
        skip_unloadable: True leaves a configuration empty if its pickle cannot or may not be
            loaded.

    Raises:
        ValueError: If the text is not a record of this format.
        Untrusted: If a configuration is a pickle that may not be loaded.
    """
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = json.loads(text)
    cls = _CLASSES.get(body.pop("event", ""))
    if cls is None:
        raise ValueError(f"not a journal record: {text[:80]!r}")
    for name in _DECODERS.keys() & body.keys():
        if body[name] is not None:
            body[name] = _DECODERS[name](body[name])
    if cls is AttemptEnded:
        body["error"] = _error(body.get("error"), pickles)
    elif cls is TrialSuggested:
        known = body["config"], body["resolved"]
        loaded = _unpickled(body, known, pickles, skip_unloadable)
        body["config"], body["resolved"] = loaded or ({}, body["resolved"])
    elif cls is TrialRedirected:
        body["config"] = _unpickled(body, body["config"], pickles, skip_unloadable)
    return cls(**body)


def _resources(pairs: Any) -> Resources:
    if isinstance(pairs, dict):
        return PlacementGroup(tuple(map(_resources, pairs["bundles"])), pairs["strategy"])
    return Resources(tuple((str(name), int(milli)) for name, milli in pairs))


def _checkpoint(body: dict[str, Any]) -> TrialCheckpoint:
    return TrialCheckpoint(**{**body, "progress": Progress(**body["progress"])})


#: What makes the value of a field of its JSON form; the value of any other field is the same.
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "action": Control,
    "checkpoint": _checkpoint,
    "errored": EndedPolicy,
    "fate": Fate,
    "finished": EndedPolicy,
    "outcome": Outcome,
    "paths": tuple,
    "resources": _resources,
    "results": tuple,
}


def _unpickled(body: dict[str, Any], otherwise: Any, pickles: Pickles, skips: bool) -> Any:
    """Remove the pickle from a record and load it; return `otherwise` if there is no pickle.

    A pickle that cannot be loaded raises, or is replaced by None if `skips`.
    """
    pickled, signature = body.pop("pickled", None), body.pop("signature", None)
    if pickled is None:
        return otherwise
    try:
        return pickles.load(_CONFIG, base64.b64decode(pickled), signature)
    except Exception:
        # Unpickling an object may raise anything, e.g. if its module is gone.
        if not skips:
            raise
        return None


def _error(body: dict[str, Any] | None, pickles: Pickles) -> AttemptError | None:
    if body is None:
        return None
    pickled, signature = body.pop("pickled"), body.pop("signature", None)
    data = None if pickled is None else base64.b64decode(pickled)
    # The exception is loaded when it is asked for; if it may not be loaded, its text remains.
    if data and not pickles.accepts(_ERROR, data, signature) and not is_plain(data):
        data = None
    return AttemptError(**body, pickled=data)
