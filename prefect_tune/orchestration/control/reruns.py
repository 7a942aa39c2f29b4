"""Resumes the sweeps of a flow run when the flow run is executed again.

A retry by `flow.retries`, by hand or by an automation, the resume of a suspended run and the
restart of a crashed one all execute the flow function from its start, and with it the same calls of
`run` and `Tuner.fit`; a retry of a task repeats the calls of the task. Tasks and subflows may begin
in another order then, or be skipped. So a call is identified by the flow run, the tasks and
subflows that lead to it with their arguments, and the sweep itself. Equal calls get numbers. The
experiment of a call is recorded next to the experiments, so that it is found wherever the flow run
is executed::

    <storage>/.flow_runs/<id of the flow run>/<trainable>-<name>-<digest>-<number>.json
"""

from __future__ import annotations

import json
import posixpath
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from prefect.exceptions import Abort

from prefect_tune.engine.setup.digests import content_digest
from prefect_tune.engine.setup.request import BegunSweep, SweepIdentity
from prefect_tune.error import ExperimentLocked
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.orchestration.control.current_flow import FlowIdentity, current_flow_identity
from prefect_tune.orchestration.logs import run_log
from prefect_tune.storage.layout import safe_name

T = TypeVar("T")

DIRECTORY = ".flow_runs"
_FORMAT = 2
_LONGEST_KEY = 100
_POLL_S = 1.0
#: Name of the part of a call's identity that does not come from the sweep.
_CALLERS = "the arguments of the task or flow"


@dataclass(frozen=True, slots=True)
class _CallRecord:
    """Content of the file that records a call.

    Attributes:
        begun: The experiment of the call.
        execution: Execution of the outermost flow run in which the call was made last.
        caller: Id of the run below the outermost one in which it was made; "" if there is none.
        parts: Identity of the call, as in `SweepIdentity`.
    """

    begun: BegunSweep
    execution: int
    caller: str
    parts: dict[str, str]

    def encode(self) -> bytes:
        body = asdict(self)
        return json.dumps({"format": _FORMAT, **body.pop("begun"), **body}).encode()

    @classmethod
    def decode(cls, record: bytes | None) -> _CallRecord | None:
        if record is None:
            return None
        try:
            body: dict[str, Any] = json.loads(record)
            begun = BegunSweep(str(body["name"]), str(body["origin"]), bool(body["failed"]))
            return cls(begun, int(body["execution"]), str(body["caller"]), dict(body["parts"]))
        except (ValueError, KeyError, TypeError):
            run_log().warning(
                "What this flow run has begun cannot be read; it begins anew: %r", record
            )
            return None


class _CallNumbers:
    """Numbers of equal calls in one execution of a flow run.

    A task or subflow that is retried by itself gets the numbers that it had before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[Any, ...]] = Counter()
        self._runs: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
        self._assigned: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)

    def assign(self, flow: FlowIdentity, key: str) -> int:
        """Give a call that is made now its number, from 1, among equal calls.

        Args:
            flow: The surrounding flow run.
            key: Key that equal calls share.
        """
        execution = (flow.root_id, flow.root_run_count, key)
        with self._lock:
            # The index, among equal runs, of the run at each level that leads to the call.
            caller: tuple[int, ...] = ()
            address: tuple[Any, ...] = execution
            for run in flow.callers:
                equal = self._runs[address]
                if run.run_id not in equal:
                    equal.append(run.run_id)
                caller = (*caller, equal.index(run.run_id))
                address = (*address, caller[-1], run.execution)
            self._calls[address] += 1
            call = (*caller, self._calls[address])
            assigned = self._assigned[execution]
            if call not in assigned:
                assigned.append(call)
            return assigned.index(call) + 1

    def reassign(self, flow: FlowIdentity, key: str, number: int) -> int:
        """Give a call another number, because a call in another process has this one."""
        with self._lock:
            assigned = self._assigned[flow.root_id, flow.root_run_count, key]
            call = assigned[number - 1]
            assigned[number - 1] = None
            assigned.append(call)
            return len(assigned)


_numbers = _CallNumbers()


class StoredRerunRecord:
    """Record of one call of `run` or `Tuner.fit` inside a flow run.

    Implements `prefect_tune.engine.setup.request.RerunRecord`.

    Args:
        flow: The surrounding flow run.
        patience_s: Seconds to wait for an experiment that another process still holds.
    """

    def __init__(self, flow: FlowIdentity, patience_s: float) -> None:
        self._flow = flow
        self._patience_s = patience_s
        self._caller = flow.callers[0].run_id if flow.callers else ""
        self._parts: dict[str, str] = {}
        self._file = ""
        self._store: Store | None = None
        self._begun: BegunSweep | None = None

    def look_up(self, storage: Location, sweep: SweepIdentity) -> BegunSweep | None:
        """Return the sweep that an earlier execution of the flow run has begun, and log that.

        Raises:
            StorageError: If the storage cannot be read.
        """
        self._store = store = open_store(storage)
        called_by = content_digest([caller.what for caller in self._flow.callers])
        self._parts = {**sweep.parts, _CALLERS: called_by}
        named = [sweep.trainable, *([] if sweep.name is None else [sweep.name])]
        short = safe_name("-".join(named))[:_LONGEST_KEY]
        key = f"{short}-{content_digest(self._parts)}"
        number = _numbers.assign(self._flow, key)
        directory = posixpath.join(DIRECTORY, self._flow.root_id)
        while True:
            self._file = posixpath.join(directory, f"{key}-{number}.json")
            record = _CallRecord.decode(store.read(self._file))
            if record is None or not self._is_of_another_process(record):
                break
            number = _numbers.reassign(self._flow, key, number)
        self._begun = None if record is None else record.begun
        if self._begun is not None:
            run_log().info(
                "This flow run has begun its sweep of %s before: it goes on with %s in %s.",
                sweep.trainable,
                self._begun.name,
                storage,
            )
        elif self._flow.root_run_count > 1:
            self._log_difference(store, directory, short, sweep.trainable)
        return self._begun

    def _is_of_another_process(self, record: _CallRecord) -> bool:
        """Return True if another task or subflow made the call in this execution of the flow run.

        Calls of this process have other numbers.
        """
        return record.execution == self._flow.root_run_count and record.caller != self._caller

    def _log_difference(self, store: Store, directory: str, short: str, trainable: str) -> None:
        """Log why a sweep begins anew though a similar one was begun before."""
        nearest: tuple[list[str], str] | None = None
        for file in sorted(store.sizes(directory)):
            if not file.startswith(f"{short}-"):
                continue
            record = _CallRecord.decode(store.read(posixpath.join(directory, file)))
            if record is None or record.execution == self._flow.root_run_count:
                continue
            changed = [what for what in self._parts if record.parts.get(what) != self._parts[what]]
            if changed and (nearest is None or len(changed) < len(nearest[0])):
                nearest = changed, record.begun.name
        if nearest is not None:
            run_log().info(
                "This sweep of %s begins anew: it differs from %s, which this flow run has begun "
                "before, in %s.",
                trainable,
                nearest[1],
                ", ".join(nearest[0]),
            )

    def record(self, name: str, origin: str) -> None:
        """Record that the experiment of this sweep begins, or is resumed.

        Nothing is recorded of a sweep that has not called `look_up`.

        Raises:
            StorageError: If the storage cannot be written.
        """
        self._write(BegunSweep(name, origin))

    def record_failure(self) -> None:
        """Record that the sweep has ended and the call raises, because trials have failed.

        Raises:
            StorageError: If the storage cannot be written.
        """
        if self._begun is not None:
            self._write(BegunSweep(self._begun.name, self._begun.origin, failed=True))

    def when_free(self, open_experiment: Callable[[], T]) -> T:
        """Open the experiment, and wait for a process of an earlier execution that still holds it.

        That process may be about to end, or to be found dead. If it lives, a silent process was
        taken for a dead one, and this execution must leave the flow run to it.

        Raises:
            ExperimentLocked: If the flow run has not begun the experiment itself.
            Abort: If the process lives. Ends this execution without changing the flow run's state.
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

    def _write(self, begun: BegunSweep) -> None:
        if self._store is None:  # `resume=False`: this sweep begins anew each time
            return
        self._begun = begun
        record = _CallRecord(begun, self._flow.root_run_count, self._caller, self._parts)
        self._store.write(self._file, record.encode())


def make_rerun_record(lease_s: float) -> StoredRerunRecord | None:
    """Return the record of a sweep that begins now; None outside flow runs.

    Args:
        lease_s: Seconds after which a silent process is taken for dead.
    """
    flow = current_flow_identity()
    return None if flow is None else StoredRerunRecord(flow, patience_s=2 * lease_s)
