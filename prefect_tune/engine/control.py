"""Requests that control a running sweep, sent through files in its experiment directory.

A command or a call writes a small request file into `CONTROL_DIR` of the experiment directory, on
the machine of the flow process or in storage. The flow process reads it, carries it out, and writes
an answer file beside it. Each request has its own files, so several people may control a sweep at a
time; their requests are answered in order.
"""

from __future__ import annotations

import getpass
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prefect_tune.coordinator.control import MAX_CONCURRENT, STOP, TIME_LEFT
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Control, ControlReceived, Event
from prefect_tune.error import InvalidArgument, StorageError, TuneError
from prefect_tune.filesystem.factory import open_store
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.storage.experiment_dir import is_in_use
from prefect_tune.storage.fetch import is_resumable

_logger = logging.getLogger("prefect_tune")

CONTROL_DIR = ".control"
_REQUEST, _ANSWER = ".request.json", ".answer.json"
_POLL_S = 0.5
#: Storage is polled once for this many polls of the local directory.
_REMOTE_EVERY = 3
#: Seconds for which the sender of a request waits for its answer.
ANSWER_S = 30.0


@dataclass(frozen=True)
class Request:
    """A request to control a running sweep.

    Attributes:
        verb: ``pause``, ``resume``, ``stop``, ``cancel``, ``stop-trial``, ``add-samples`` or
            ``set``.
        trial: The trial's id or name, for ``stop-trial``.
        values: Numbers, for ``add-samples`` and ``set``.
        by: The user and host that sent the request.
        time: When it was sent, in seconds since the epoch.
    """

    verb: str
    trial: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    by: str = ""
    time: float = 0.0


class ControlRequestHandler:
    """Carries out and answers the requests to a running sweep, in a thread of its own.

    Use it as a context manager.

    Args:
        places: The local experiment directory, and that in storage if there is one.
        coordinator: The coordinator of the sweep.
        put: Queues an event for the engine.
        cancel: Ends the sweep in order, for the given reason.
        on_done: Called after each request with a description of what was done, and the request.
    """

    def __init__(
        self,
        places: Sequence[Location],
        coordinator: Coordinator,
        put: Callable[[Event], None],
        cancel: Callable[[str], None],
        on_done: Callable[[str, Request], None],
    ) -> None:
        self._stores = [open_store(place) for place in places]
        self._coordinator = coordinator
        self._put = put
        self._cancel = cancel
        self._on_done = on_done
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tune-control", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(_POLL_S)

    def _watch(self) -> None:
        polls = 0
        while not self._closing.wait(_POLL_S):
            for number, store in enumerate(self._stores):
                if number and polls % _REMOTE_EVERY:
                    continue
                try:
                    self._answer_requests(store)
                except StorageError:
                    _logger.debug("No requests can be read from %s.", store.location, exc_info=True)
            polls += 1

    def _answer_requests(self, store: Any) -> None:
        for name in sorted(store.sizes(CONTROL_DIR)):
            if not name.endswith(_REQUEST):
                continue
            path = f"{CONTROL_DIR}/{name}"
            data = store.read(path)
            store.delete([path])
            try:
                request = Request(**json.loads(data or b""))
                if time.time() - request.time > ANSWER_S:
                    continue  # the sender has given up
                answer = {"done": self._execute(request)}
            except (ValueError, TypeError, TuneError) as error:
                answer = {"error": str(error)}
            body = json.dumps(answer).encode()
            store.write(path.removesuffix(_REQUEST) + _ANSWER, body)

    def _execute(self, request: Request) -> str:
        """Carry a request out, and return a description of what was done.

        Raises:
            TuneError: If the request cannot be carried out; the message says why.
        """
        coordinator, by = self._coordinator, f"by {request.by}"
        if coordinator.finished or coordinator.ending:
            raise TuneError(f"The experiment is ending already ({coordinator.ending or 'done'}).")
        action, trial, values, done = None, None, None, ""
        match request.verb:
            case "pause":
                if coordinator.held:
                    raise TuneError(f"The experiment is {coordinator.held} already.")
                action, done = Control.PAUSE, "paused"
            case "resume":
                if not coordinator.held:
                    raise TuneError("The experiment is not paused.")
                action, done = Control.GO_ON, "resumed"
            case "stop":
                action, done = Control.DRAIN, "stopped"
            case "cancel":
                done = "cancelled"
            case "stop-trial":
                trial = self._find_trial(request.trial)
                action, done = Control.STOP_TRIAL, "stopped"
            case "add-samples":
                values = {"samples": _check_whole_number("samples", request.values.get("samples"))}
                action, done = Control.ADD_SAMPLES, f"extended by {values['samples']:.0f} samples"
            case "set":
                values = _check_values(request.values)
                action, done = (
                    Control.SET,
                    "set " + ", ".join(f"{k}={v:g}" for k, v in values.items()),
                )
            case _:
                raise TuneError(f"There is no verb {request.verb!r}.")
        reason = f"{done} {by}"
        if action is None:
            self._cancel(reason)
        else:
            self._put(ControlReceived(time.time(), action, trial, reason, values))
        self._on_done(reason if trial is None else f"trial {trial} {reason}", request)
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
        elif not name.startswith(STOP) or name == STOP:
            raise InvalidArgument(
                "set",
                f"there is no {name!r}.",
                f"Set {MAX_CONCURRENT}, {TIME_LEFT} or {STOP}METRIC.",
            )
    return {name: float(value) for name, value in values.items()}


def _check_whole_number(name: str, value: float | None) -> float:
    if value is None or value < 1 or value != int(value):
        raise InvalidArgument(name, f"got {value!r}.", "It is a whole number from 1.")
    return value


def send(place: Location, request: Request, timeout: float = ANSWER_S) -> str:
    """Send a request to a running sweep, and wait for the answer.

    Args:
        place: The sweep's experiment directory.
        request: The request; its sender and time are filled in.
        timeout: Seconds to wait.

    Returns:
        A description of what was done.

    Raises:
        InvalidArgument: If there is no such experiment.
        TuneError: If the experiment has ended, does not answer, or refuses the request.
    """
    if not is_resumable(place):
        raise InvalidArgument("experiment", f"there is none in {place}.")
    ended = f"The experiment in {place} does not run"
    if place.is_local and not is_in_use(place.path):
        raise TuneError(f"{ended}: it has ended, or was interrupted.")
    store = open_store(place, FOREGROUND)
    now = time.time()
    name = f"{CONTROL_DIR}/{now:017.6f}-{uuid.uuid4().hex[:8]}"
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    complete = Request(request.verb, request.trial, request.values, by, now)
    store.write(name + _REQUEST, json.dumps(asdict(complete)).encode())
    deadline = time.monotonic() + timeout
    while (data := store.read(name + _ANSWER)) is None:
        if time.monotonic() >= deadline:
            store.delete([name + _REQUEST])
            raise TuneError(
                f"{ended}, or is out of reach: there was no answer within {timeout:.0f} s."
            )
        time.sleep(_POLL_S / 2)
    store.delete([name + _ANSWER])
    answer = json.loads(data)
    if "error" in answer:
        raise TuneError(answer["error"])
    return str(answer["done"])
