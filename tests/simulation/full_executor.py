"""The simulated executor with all methods of an `Executor`, and storage that can go wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CheckpointFailed,
    Event,
    Node,
    Outcome,
)
from prefect_tune.execution.base import (
    Backpressure,
    Emit,
    ExperimentEnv,
    Fail,
    TakeOutput,
    TrialPlace,
)
from prefect_tune.execution.driver.dask_resources import check_fits
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.simulation.attempt import Program, SimulatedAttempt
from prefect_tune.simulation.executor import SimulatedExecutor

#: Seconds that the upload of a checkpoint takes, by its path; None for one that fails.
UploadSeconds = Callable[[str], float | None]


def at_once(path: str) -> float | None:
    """Return 0, as on a shared file system, where a complete checkpoint is in storage."""
    return 0.0


class SimulatedStorage:
    """A store of checkpoints that can be away or damaged.

    Attributes:
        upload_s: How long uploads take.
        stored: Paths of the complete checkpoints.
        spoiled: Those of them that are damaged.
        away: Whether it does not answer; attempts that start from a checkpoint then fail.
        overwritten: Paths that were stored a second time.
    """

    def __init__(self, upload_s: UploadSeconds = at_once) -> None:
        self.upload_s = upload_s
        self.stored: set[str] = set()
        self.spoiled: set[str] = set()
        self.away = False
        self.overwritten: list[str] = []

    def put(self, path: str) -> None:
        if path in self.stored:
            self.overwritten.append(path)
        self.stored.add(path)

    def delete(self, path: str) -> None:
        self.stored.discard(path)

    def problem(self, path: str) -> AttemptError | None:
        """Return why an attempt cannot go on from a checkpoint; None if it can."""
        if self.away:
            return AttemptError("storage", "the store does not answer")
        if path not in self.stored:
            return AttemptError("restore", f"{path} is not there")
        if path in self.spoiled:
            return AttemptError("restore", f"{path} is damaged")
        return None


class FullExecutor(SimulatedExecutor):
    """An `Executor` in simulated time.

    Args:
        now: Time at the beginning, seconds since the epoch.
        storage: Where checkpoints are.
    """

    def __init__(
        self,
        program: Program,
        nodes: Sequence[Node],
        *,
        now: float = 0.0,
        storage: SimulatedStorage | None = None,
        **options: Any,
    ) -> None:
        super().__init__(program, nodes, **options)
        self.now = now
        self.storage = SimulatedStorage() if storage is None else storage
        self._uploading: Counter[tuple[str, int]] = Counter()
        self._running: dict[tuple[str, int], tuple[str, Future[AttemptEnded]]] = {}

    def open(
        self,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None = None,
        output: TakeOutput | None = None,
        driver: Backpressure | None = None,
    ) -> None:
        def emit_complete(event: Event) -> None:
            if not isinstance(event, AttemptEnded):
                emit(event)
                return
            key = event.trial_id, event.attempt
            node, ended = self._running.pop(key)
            if node in self._nodes:
                event = replace(event, uploading=self._uploading[key])
            emit(event)
            ended.set_result(event)

        self._stop_grace_s = env.stop_grace_s
        self.start(env.experiment_id, emit_complete)

    def validate_request(self, resources: Resources) -> None:
        check_fits(resources, {node.address: node.resources for node in self._nodes.values()})

    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        """Nodes come by `add_node` only."""

    def dashboard(self) -> str | None:
        return None

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        ended: Future[AttemptEnded] = Future()
        self._running[launch.key] = launch.node, ended
        self.begin(launch, place.relative_dir, place.experiment_tag)
        return ended

    def close(self) -> None:
        for attempt in list(self._attempts.values()):
            self._end(attempt, Outcome.LOST, AttemptError("lost", "the experiment was closed"))
        self._agenda.clear()

    def fail(self, trial_id: str, error: AttemptError) -> None:
        """Have the running attempt of a trial fail now."""
        for attempt in list(self._attempts.values()):
            if attempt.launch.trial_id == trial_id:
                self._end(attempt, Outcome.FAILED, error)

    def _go_on(self, attempt: SimulatedAttempt) -> None:
        checkpoint = attempt.launch.checkpoint
        if not attempt.done_steps and checkpoint is not None:
            problem = self.storage.problem(checkpoint)
            if problem is not None:
                self._end(attempt, Outcome.FAILED, problem)
                return
        super()._go_on(attempt)

    def _store(self, attempt: SimulatedAttempt, path: str, result: dict[str, Any]) -> None:
        seconds = self.storage.upload_s(path)
        key = attempt.key

        def finish() -> None:
            if seconds is None:
                self._emit(CheckpointFailed(self.now, *key, path, "the upload was given up"))
            else:
                self.storage.put(path)
                super(FullExecutor, self)._store(attempt, path, result)

        def arrive() -> None:
            self._uploading[key] -= 1
            if attempt.launch.node in self._nodes:
                finish()

        if seconds == 0:
            finish()
        else:
            self._uploading[key] += 1
            self.at(self.now + (seconds or 0.0), arrive)
