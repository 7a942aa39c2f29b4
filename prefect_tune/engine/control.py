"""Carries out the requests to a running sweep that `storage.control_requests` sends."""

from __future__ import annotations

import itertools
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from prefect_tune.coordinator.control import MAX_CONCURRENT, STOP, TIME_LEFT
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Control, ControlReceived
from prefect_tune.error import InvalidArgument, StorageError, TuneError
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import open_store
from prefect_tune.stopper import make_stopper
from prefect_tune.storage.control_requests import (
    ANSWER,
    ANSWER_S,
    CONTROL_DIR,
    REQUEST,
    ControlRequest,
)

_logger = logging.getLogger("prefect_tune")

#: Requests that make sense after ``stop``, while the last trials run.
_FOR_RUNNING_TRIALS = ("cancel", "stop-trial", "set")
#: What each verb asks of the coordinator (None ends the sweep as a signal does), and what is done.
_ACTIONS: dict[str, tuple[Control | None, str]] = {
    "pause": (Control.PAUSE, "paused"),
    "resume": (Control.GO_ON, "resumed"),
    "stop": (Control.DRAIN, "stopped"),
    "cancel": (None, "cancelled"),
    "stop-trial": (Control.STOP_TRIAL, "stopped"),
    "add-samples": (Control.ADD_SAMPLES, "extended"),
    "set": (Control.SET, "set"),
}
_POLL_S = 0.25
#: Storage is polled once for this many polls of the local directory.
_REMOTE_EVERY = 6


class ControlRequestHandler:
    """Carries out and answers the requests to a running sweep, in a thread of its own.

    Use it as a context manager.

    Args:
        places: The local experiment directory, and that in storage if there is one.
        coordinator: The coordinator of the sweep.
        carry_out: Has the engine handle an event, and returns when it is in the journal.
        cancel: Ends the sweep in order, for the given reason.
        on_done: Called after each request with a description of what was done, and who asked.
    """

    def __init__(
        self,
        places: Sequence[Location],
        coordinator: Coordinator,
        carry_out: Callable[[ControlReceived], None],
        cancel: Callable[[str], None],
        on_done: Callable[[str, str], None],
    ) -> None:
        self._stores = [open_store(place) for place in places]
        self._coordinator = coordinator
        self._carry_out = carry_out
        self._cancel = cancel
        self._on_done = on_done
        self._cancelled = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tune-control", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(_POLL_S)

    def _watch(self) -> None:
        for polls in itertools.count():
            # Whoever asks at the very end is told so; storage may be too slow for that.
            closing = self._closing.wait(_POLL_S)
            for number, store in enumerate(self._stores):
                if number and (closing or polls % _REMOTE_EVERY):
                    continue
                try:
                    self._answer_requests(store)
                except StorageError:
                    _logger.debug("No requests can be read from %s.", store.location, exc_info=True)
            if closing:
                return

    def _answer_requests(self, store: Any) -> None:
        for name in sorted(store.sizes(CONTROL_DIR)):
            if not name.endswith(REQUEST):
                continue
            path = f"{CONTROL_DIR}/{name}"
            data = store.read(path)
            store.delete([path])
            try:
                request = ControlRequest(**json.loads(data or b""))
                if time.time() - request.time > ANSWER_S:
                    continue  # the sender has given up
                answer = {"done": self._execute(request)}
            except (ValueError, TypeError, TuneError) as error:
                answer = {"error": str(error)}
            body = json.dumps(answer).encode()
            store.write(path.removesuffix(REQUEST) + ANSWER, body)

    def _execute(self, request: ControlRequest) -> str:
        """Carry a request out, and return a description of what was done.

        Raises:
            TuneError: If the request cannot be carried out; the message says why.
        """
        coordinator = self._coordinator
        ending = self._cancelled or coordinator.stopping
        if coordinator.finished:
            ending = ending or "done"
        if request.verb not in _FOR_RUNNING_TRIALS:
            ending = ending or coordinator.ending
        if ending:
            raise TuneError(f"The experiment is ending already ({ending}).")
        if request.verb not in _ACTIONS:
            raise TuneError(f"There is no action {request.verb!r}.")
        action, done = _ACTIONS[request.verb]
        trial, values = None, None
        match request.verb:
            case "pause" if coordinator.pause_reason:
                raise TuneError(f"The experiment is {coordinator.pause_reason} already.")
            case "resume" if not coordinator.pause_reason:
                raise TuneError("The experiment is not paused.")
            case "stop-trial":
                trial = self._find_trial(request.trial)
            case "add-samples":
                values = {"samples": _check_whole_number("samples", request.values.get("samples"))}
                done = f"extended by {values['samples']:.0f} samples"
            case "set":
                values = _check_values(request.values)
                done = "set " + ", ".join(f"{k}={v:g}" for k, v in values.items())
        reason = f"{done} by {request.by}"
        if action is None:
            self._cancelled = reason
            self._cancel(reason)
        else:
            self._carry_out(ControlReceived(time.time(), action, trial, reason, values))
        self._on_done(reason if trial is None else f"trial {trial} {reason}", request.by)
        return done

    def _find_trial(self, wanted: str | None) -> str:
        for trial in self._coordinator.get_trials():
            if wanted in (trial.trial_id, str(trial)):
                if trial.is_finished():
                    raise TuneError(f"Trial {trial} has ended ({trial.status}).")
                return trial.trial_id
        raise TuneError(f"There is no trial {wanted!r}.")


def _check_values(values: dict[str, float]) -> dict[str, float]:
    if not values:
        raise InvalidArgument("set", "there is nothing to set.", "Give NAME=VALUE.")
    for name, value in values.items():
        if name == MAX_CONCURRENT:
            _check_whole_number(name, value)
        elif name == TIME_LEFT:
            if not value > 0:
                raise InvalidArgument(name, f"got {value!r}.", "It is more than 0.")
        elif name.startswith(STOP) and name != STOP:
            make_stopper({name.removeprefix(STOP): value})  # raises if it is no threshold
        else:
            raise InvalidArgument(
                "set",
                f"there is no {name!r}.",
                f"Set {MAX_CONCURRENT}, {TIME_LEFT} or {STOP}METRIC.",
            )
    return {name: float(value) for name, value in values.items()}


def _check_whole_number(name: str, value: float | None) -> float:
    if value is None or not 1 <= value < math.inf or value != int(value):
        raise InvalidArgument(name, f"got {value!r}.", "It is a whole number from 1.")
    return value
