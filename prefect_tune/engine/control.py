"""Requests to a running sweep, which reach it through its experiment directory.

Whoever controls a sweep writes a small file into `CONTROL_DIR` of the experiment directory, on the
machine of the flow process or in storage. The flow process looks there now and then, does what is
asked for, and writes an answer beside it. Each request has files of its own, so several people may
control a sweep at a time; they are answered in order, and told what another one has done before.
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
_LOOK_S = 0.5
#: Looks at this machine's directory for one at the storage.
_REMOTE_EVERY = 3
#: Seconds after which nobody waits for an answer any more.
ANSWER_S = 30.0


@dataclass(frozen=True)
class Request:
    """What somebody asks of a sweep.

    Attributes:
        verb: ``pause``, ``resume``, ``stop``, ``cancel``, ``stop-trial``, ``add-samples`` or
            ``set``.
        trial: The trial's id or name, for ``stop-trial``.
        values: Numbers, for ``add-samples`` and ``set``.
        by: Who asks.
        time: When, in seconds since the epoch.
    """

    verb: str
    trial: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    by: str = ""
    time: float = 0.0


class ControlWatch:
    """Looks for requests from a thread of its own, and does what they ask for.

    Use it as a context manager.

    Args:
        places: The experiment directory here, and that in storage if there is one.
        coordinator: What is controlled.
        put: Takes the events.
        cancel: Ends the sweep in order, now; gets why.
        told: Called with what was done, in words, and the request.
    """

    def __init__(
        self,
        places: Sequence[Location],
        coordinator: Coordinator,
        put: Callable[[Event], None],
        cancel: Callable[[str], None],
        told: Callable[[str, Request], None],
    ) -> None:
        self._stores = [open_store(place) for place in places]
        self._coordinator = coordinator
        self._put = put
        self._cancel = cancel
        self._told = told
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tune-control", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LOOK_S)

    def _watch(self) -> None:
        looks = 0
        while not self._over.wait(_LOOK_S):
            for number, store in enumerate(self._stores):
                if number and looks % _REMOTE_EVERY:
                    continue
                try:
                    self._look(store)
                except StorageError:
                    _logger.debug("No requests can be read from %s.", store.location, exc_info=True)
            looks += 1

    def _look(self, store: Any) -> None:
        for name in sorted(store.sizes(CONTROL_DIR)):
            if not name.endswith(_REQUEST):
                continue
            path = f"{CONTROL_DIR}/{name}"
            data = store.read(path)
            store.delete([path])
            try:
                request = Request(**json.loads(data or b""))
                if time.time() - request.time > ANSWER_S:
                    continue  # whoever asked has given up
                answer = {"done": self._do(request)}
            except (ValueError, TypeError, TuneError) as error:
                answer = {"error": str(error)}
            body = json.dumps(answer).encode()
            store.write(path.removesuffix(_REQUEST) + _ANSWER, body)

    def _do(self, request: Request) -> str:
        """Do what is asked for; says what that was.

        Raises:
            TuneError: If it cannot be done; says why.
        """
        coordinator, by = self._coordinator, f"by {request.by}"
        if coordinator.finished or coordinator.ending:
            raise TuneError(f"The experiment is ending already ({coordinator.ending or 'done'}).")
        action, trial, values, said = None, None, None, ""
        match request.verb:
            case "pause":
                if coordinator.held:
                    raise TuneError(f"The experiment is {coordinator.held} already.")
                action, said = Control.PAUSE, "paused"
            case "resume":
                if not coordinator.held:
                    raise TuneError("The experiment is not paused.")
                action, said = Control.GO_ON, "resumed"
            case "stop":
                action, said = Control.DRAIN, "stopped"
            case "cancel":
                said = "cancelled"
            case "stop-trial":
                trial = self._trial(request.trial)
                action, said = Control.STOP_TRIAL, "stopped"
            case "add-samples":
                values = {"samples": _whole("samples", request.values.get("samples"))}
                action, said = Control.ADD_SAMPLES, f"extended by {values['samples']:.0f} samples"
            case "set":
                values = _checked(request.values)
                action, said = (
                    Control.SET,
                    "set " + ", ".join(f"{k}={v:g}" for k, v in values.items()),
                )
            case _:
                raise TuneError(f"There is no verb {request.verb!r}.")
        reason = f"{said} {by}"
        if action is None:
            self._cancel(reason)
        else:
            self._put(ControlReceived(time.time(), action, trial, reason, values))
        self._told(reason if trial is None else f"trial {trial} {reason}", request)
        return said

    def _trial(self, wanted: str | None) -> str:
        for trial in self._coordinator.get_trials():
            if wanted in (trial.trial_id, str(trial)):
                if trial.is_finished():
                    raise TuneError(f"Trial {trial} has ended ({trial.status}).")
                return trial.trial_id
        raise TuneError(f"There is no trial {wanted!r}.")


def _checked(values: dict[str, float]) -> dict[str, float]:
    if not values:
        raise InvalidArgument("set", "there is nothing to set.", "Give NAME=VALUE.")
    for name, value in values.items():
        if name == MAX_CONCURRENT:
            _whole(name, value)
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


def _whole(name: str, value: float | None) -> float:
    if value is None or value < 1 or value != int(value):
        raise InvalidArgument(name, f"got {value!r}.", "It is a whole number from 1.")
    return value


def send(place: Location, request: Request, timeout: float = ANSWER_S) -> str:
    """Ask something of a sweep that runs, and wait for the answer.

    Args:
        place: Its experiment directory.
        request: What is asked; who asks and when is filled in.
        timeout: Seconds to wait.

    Returns:
        What was done, in words.

    Raises:
        InvalidArgument: If there is no such experiment.
        TuneError: If it has ended, nobody answers, or it cannot be done.
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
    whole = Request(request.verb, request.trial, request.values, by, now)
    store.write(name + _REQUEST, json.dumps(asdict(whole)).encode())
    deadline = time.monotonic() + timeout
    while (data := store.read(name + _ANSWER)) is None:
        if time.monotonic() >= deadline:
            store.delete([name + _REQUEST])
            raise TuneError(f"{ended}, or is out of reach: nobody answered within {timeout:.0f} s.")
        time.sleep(_LOOK_S / 2)
    store.delete([name + _ANSWER])
    answer = json.loads(data)
    if "error" in answer:
        raise TuneError(answer["error"])
    return str(answer["done"])
