"""Sends requests that control a running sweep, through files in its experiment directory.

A command or a call writes a small request file into `CONTROL_DIR` of the experiment directory, on
the machine of the flow process or in storage. The flow process reads it, carries it out, and writes
an answer file beside it. Each request has its own files, so several people may control a sweep at a
time; their requests are answered in order. This module imports little, because commands wait for
its import.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
import uuid
from dataclasses import asdict, dataclass, field

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.filesystem.store import open_store
from prefect_tune.storage.experiment_dir import is_in_use

CONTROL_DIR = ".control"
REQUEST, ANSWER = ".request.json", ".answer.json"
#: Seconds for which the sender of a request waits for its answer.
ANSWER_S = 30.0
_POLL_S = 0.1


@dataclass(frozen=True)
class ControlRequest:
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


def send(place: Location, request: ControlRequest, timeout: float = ANSWER_S) -> str:
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
    ended = f"The experiment in {place} does not run"
    if not place.is_local or not is_in_use(place.path):
        from prefect_tune.storage.fetch import is_resumable

        if not is_resumable(place):
            raise InvalidArgument("experiment", f"there is none in {place}.")
        if place.is_local:
            raise TuneError(f"{ended}: it has ended, or was interrupted.")
    store = open_store(place, FOREGROUND)
    now = time.time()
    name = f"{CONTROL_DIR}/{now:017.6f}-{uuid.uuid4().hex[:8]}"
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    complete = ControlRequest(request.verb, request.trial, request.values, by, now)
    store.write(name + REQUEST, json.dumps(asdict(complete)).encode())
    deadline = time.monotonic() + timeout
    while True:
        has_ended = place.is_local and not is_in_use(place.path)
        if (data := store.read(name + ANSWER)) is not None:
            break
        if has_ended or time.monotonic() >= deadline:
            store.delete([name + REQUEST])
            raise TuneError(
                f"{ended}: it has just ended."
                if has_ended
                else f"{ended}, or is out of reach: there was no answer within {timeout:.0f} s."
            )
        time.sleep(_POLL_S)
    store.delete([name + ANSWER])
    answer = json.loads(data)
    if "error" in answer:
        raise TuneError(answer["error"])
    return str(answer["done"])
