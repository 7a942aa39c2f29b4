"""Measures the resources of a Dask worker that tasks other than an experiment's attempts hold.

Dask assigns tasks by the resources that a worker declares, so a task pinned to a worker waits
there for other tasks to end. The coordinator must know this before it launches an attempt there.
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
#: Seconds for which a worker that does not start attempts despite free resources is avoided.
_AVOIDED_S = 30.0
#: Seconds that Dask has to start a task that fits, however busy its scheduler is.
_PATIENCE_S = 20.0


def load_of(worker: Worker, experiment_id: str) -> WorkerLoad:
    """Return the resources that other tasks hold on a worker; runs in the worker's event loop."""
    state = worker.state
    in_threads = _others(state.executing, experiment_id)
    held: dict[str, float] = {}
    for task in [*in_threads, *_others(state.long_running, experiment_id)]:
        for name, amount in (task.resource_restrictions or {}).items():
            name = canonical_name(name)
            held[name] = held.get(name, 0.0) + amount
    if CPU not in map(canonical_name, state.total_resources):
        # Without declared CPUs a worker has one per thread, and each task uses one.
        held[CPU] = float(len(in_threads))
    held = {name: round(amount, 3) for name, amount in held.items()}
    return WorkerLoad(
        {n: a for n, a in held.items() if a}, _why_paused_or_full(worker, len(in_threads))
    )


def _others(tasks: Iterable[TaskState], experiment_id: str) -> list[TaskState]:
    return [task for task in tasks if not is_attempt_of(task.key, experiment_id)]


def _why_paused_or_full(worker: Worker, in_threads: int) -> str:
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
    """Reports changes of a worker's load, for the worker's event loop.

    Args:
        worker: The worker.
        experiment_id: The experiment whose own attempts do not count.
        tell: Called with the new load.
    """

    def __init__(
        self, worker: Worker, experiment_id: str, tell: Callable[[WorkerLoad], None]
    ) -> None:
        self._worker = worker
        self._experiment_id = experiment_id
        self._tell = tell
        self._avoid_until = 0.0
        self._leaving = ""
        #: The load that was reported last.
        self.reported = self._measure()

    async def run(self) -> None:
        """Check the load periodically until cancelled."""
        last = self.reported
        while True:
            await asyncio.sleep(_PERIOD_S)
            now = self._measure()
            # A very short task is no obstacle.
            if now == last or not now.obstacle:
                self._report(now)
            last = now

    def leave(self, reason: str) -> None:
        """Keep attempts from starting, for a reason; "" lets them start again."""
        self._leaving = reason
        self._report(self._measure())

    def would_start(self, constraint: Mapping[str, float], waited_s: float) -> bool:
        """Return True if Dask is likely to start a waiting task soon; else report the load.

        Args:
            constraint: The resources that the task needs.
            waited_s: Seconds that the task has waited.
        """
        now = self._measure()
        free = self._worker.state.available_resources
        if not now.obstacle and all(free.get(n, 0.0) >= a for n, a in constraint.items()):
            if waited_s < _PATIENCE_S:
                return True
            # For example, another user's task with other resources may precede it in the queue.
            self._avoid_until = time.monotonic() + _AVOIDED_S
            now = self._measure()
        self._report(now)
        return False

    def _report(self, now: WorkerLoad) -> None:
        if now != self.reported:
            self.reported = now
            self._tell(now)

    def _measure(self) -> WorkerLoad:
        now = load_of(self._worker, self._experiment_id)
        if self._leaving:
            return replace(now, obstacle=self._leaving)
        if not now.obstacle and time.monotonic() < self._avoid_until:
            return replace(now, obstacle="Dask has not started a trial there for some time")
        return now
