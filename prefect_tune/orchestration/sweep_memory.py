"""Sweeps of a flow run go on when the flow run is executed again.

A retry by `flow.retries`, by hand or by an automation, the resume of a suspended run and the
restart of a crashed one all execute the flow function from its top, and with it the same calls of
`run` and `Tuner.fit`. Each of these calls has an identity: the flow run, the trainable, the name if
one is given, and a number that tells equal ones apart. What it has begun is remembered next to the
experiments themselves, so it is found wherever the flow run goes on::

    <storage>/.flow_runs/<id of the flow run>/<trainable>-<name>-<number>.json
"""

from __future__ import annotations

import json
import posixpath
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from prefect.exceptions import Abort

from prefect_tune.engine.memory import BegunSweep
from prefect_tune.error import ExperimentLocked
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.orchestration.flow_identity import FlowIdentity, current_flow_identity
from prefect_tune.orchestration.run_log import run_log
from prefect_tune.storage.layout import safe_name

T = TypeVar("T")

DIRECTORY = ".flow_runs"
_FORMAT = 1
_LONGEST_KEY = 120
_POLL_S = 1.0

_lock = threading.Lock()
_calls: Counter[tuple[str, int, str]] = Counter()


class FlowRunMemory:
    """The memory of one call of `run` or `Tuner.fit` inside a flow run.

    Implements `prefect_tune.engine.memory.SweepMemory`.

    Args:
        flow: The surrounding flow run.
        patience_s: Seconds to wait for an experiment that another process still holds.
    """

    def __init__(self, flow: FlowIdentity, patience_s: float) -> None:
        self._flow = flow
        self._patience_s = patience_s
        self._file = ""
        self._store: Store | None = None
        self._begun: BegunSweep | None = None

    def recall(self, storage: Location, trainable: str, name: str | None) -> BegunSweep | None:
        """What an earlier execution of the flow run has begun; says so.

        Raises:
            StorageError: If the storage cannot be read.
        """
        self._file = self._next_file(trainable, name)
        self._store = open_store(storage)
        self._begun = _decode(self._store.read(self._file))
        if self._begun is not None:
            run_log().info(
                "This flow run has begun its sweep of %s before: it goes on with %s in %s.",
                trainable,
                self._begun.name,
                storage,
            )
        return self._begun

    def remember(self, name: str) -> None:
        """The experiment of this sweep is begun, or goes on.

        Nothing is remembered of a sweep that did not ask for what there was before.

        Raises:
            StorageError: If the storage cannot be written.
        """
        self._write(BegunSweep(name))

    def has_failed(self) -> None:
        """The sweep has ended, and its failed trials make the call raise.

        Raises:
            StorageError: If the storage cannot be written.
        """
        if self._begun is not None:
            self._write(BegunSweep(self._begun.name, failed=True))

    def when_free(self, open_experiment: Callable[[], T]) -> T:
        """Open the experiment, waiting for a process of an earlier execution that still holds it.

        It may be about to end, or to be found dead. If it lives on, then this execution is one too
        many: somebody took a silent process for a dead one. The flow run is left to that process.

        Raises:
            ExperimentLocked: If the flow run has not begun the experiment itself.
            Abort: If the process lives on. Ends this execution without changing the flow run's
                state.
        """
        deadline = time.monotonic() + self._patience_s
        told = False
        while True:
            try:
                return open_experiment()
            except ExperimentLocked as error:
                if self._begun is None:
                    raise
                if time.monotonic() >= deadline:
                    run_log().warning(
                        "%s This execution of the flow run ends; the flow run is left to it.", error
                    )
                    raise Abort(str(error)) from error
                if not told:
                    told = True
                    run_log().warning("%s Waiting up to %.0f s.", error, self._patience_s)
            time.sleep(_POLL_S)

    def _next_file(self, trainable: str, name: str | None) -> str:
        parts = [*self._flow.path, trainable, *([] if name is None else [name])]
        key = safe_name("-".join(parts))[:_LONGEST_KEY]
        with _lock:
            execution = (self._flow.flow_run_id, self._flow.run_count, key)
            _calls[execution] += 1
            number = _calls[execution]
        return posixpath.join(DIRECTORY, self._flow.root_id, f"{key}-{number}.json")

    def _write(self, begun: BegunSweep) -> None:
        if self._store is None:  # `resume=False`: this sweep begins anew each time
            return
        self._begun = begun
        record = {"format": _FORMAT, "name": begun.name, "failed": begun.failed}
        self._store.write(self._file, json.dumps(record).encode())


def flow_run_memory(lease_s: float) -> FlowRunMemory | None:
    """The memory of a sweep that begins now; None outside of flow runs.

    Args:
        lease_s: Seconds after which a silent process is taken for dead.
    """
    flow = current_flow_identity()
    return None if flow is None else FlowRunMemory(flow, patience_s=2 * lease_s)


def _decode(record: bytes | None) -> BegunSweep | None:
    if record is None:
        return None
    try:
        body: dict[str, Any] = json.loads(record)
        return BegunSweep(str(body["name"]), bool(body["failed"]))
    except (ValueError, KeyError, TypeError):
        run_log().warning("What this flow run has begun cannot be read; it begins anew: %r", record)
        return None
