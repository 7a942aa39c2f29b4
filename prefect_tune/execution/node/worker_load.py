"""What a Dask worker is busy with besides an experiment, as far as it keeps attempts from starting.

Dask places tasks by what a worker has declared, so a task that is pinned to a worker waits there
until everybody else lets go. The coordinator has to know before it sends an attempt there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from distributed import Status, Worker
from distributed.worker_state_machine import TaskState

from prefect_tune.execution.protocol.reports import WorkerLoad
from prefect_tune.execution.protocol.requests import is_attempt_of
from prefect_tune.resources import CPU, canonical_name

_PERIOD_S = 0.25
#: Seconds for which nothing is sent to a worker that does not start what it could.
_AVOIDED_S = 30.0
#: Seconds that Dask may take to start what it could, however busy its scheduler is.
_PATIENCE_S = 20.0


def load_of(worker: Worker, experiment_id: str) -> WorkerLoad:
    """See what others do on a worker; on its event loop."""
    state = worker.state
    in_threads = _others(state.executing, experiment_id)
    held: dict[str, float] = {}
    for task in [*in_threads, *_others(state.long_running, experiment_id)]:
        for name, amount in (task.resource_restrictions or {}).items():
            name = canonical_name(name)
            held[name] = held.get(name, 0.0) + amount
    if CPU not in map(canonical_name, state.total_resources):
        # Then the worker has as many as threads, and a task takes one.
        held[CPU] = float(len(in_threads))
    held = {name: round(amount, 3) for name, amount in held.items()}
    return WorkerLoad({n: a for n, a in held.items() if a}, _obstacle(worker, len(in_threads)))


def _others(tasks: Iterable[TaskState], experiment_id: str) -> list[TaskState]:
    return [task for task in tasks if not is_attempt_of(task.key, experiment_id)]


def _obstacle(worker: Worker, in_threads: int) -> str:
    if worker.status == Status.paused:
        return "Dask has paused this worker, because it uses too much of its memory limit"
    if worker.status != Status.running:
        return f"this worker is {worker.status.name.replace('_', ' ')}"
    threads = worker.state.nthreads
    if in_threads >= threads:
        has = "its only thread" if threads == 1 else f"all of its {threads} threads"
        return f"other Dask tasks run in {has}"
    return ""


class LoadWatch:
    """Tells when the load of a worker changes. Belongs to the event loop of the worker.

    Args:
        worker: The worker.
        experiment_id: For which experiment.
        tell: Takes the new load.
    """

    def __init__(
        self, worker: Worker, experiment_id: str, tell: Callable[[WorkerLoad], None]
    ) -> None:
        self._worker = worker
        self._experiment_id = experiment_id
        self._tell = tell
        self._avoid_until = 0.0
        #: What was told last.
        self.told = self._look()

    async def run(self) -> None:
        """Look until it is cancelled."""
        last = self.told
        while True:
            await asyncio.sleep(_PERIOD_S)
            now = self._look()
            # A task that is over in no time is no obstacle.
            if now == last or not now.obstacle:
                self._say(now)
            last = now

    def would_start(self, constraint: Mapping[str, float], waited_s: float) -> bool:
        """Whether to wait on for a task that Dask has not started; tells the load if not.

        Args:
            constraint: The resources that it needs.
            waited_s: Seconds that it has waited.
        """
        now = self._look()
        free = self._worker.state.available_resources
        if not now.obstacle and all(free.get(n, 0.0) >= a for n, a in constraint.items()):
            if waited_s < _PATIENCE_S:
                return True
            # E.g. somebody else's task with other resources is in front of it.
            self._avoid_until = time.monotonic() + _AVOIDED_S
            now = self._look()
        self._say(now)
        return False

    def _say(self, now: WorkerLoad) -> None:
        if now != self.told:
            self.told = now
            self._tell(now)

    def _look(self) -> WorkerLoad:
        now = load_of(self._worker, self._experiment_id)
        if not now.obstacle and time.monotonic() < self._avoid_until:
            return replace(now, obstacle="Dask has not started a trial there for some time")
        return now
