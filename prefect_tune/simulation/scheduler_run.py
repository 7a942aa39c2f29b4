"""Simulated trials for schedulers and stoppers: no coordinator, no processes, no clock.

A `Simulation` drives the hooks of a scheduler as an experiment does, in simulated time and always
in the same order, and checks on the way that nobody decides before the point `run_until` named.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler
from prefect_tune.stopper import NoopStopper, Stopper

#: The metrics that trial `index` reports at step `step` (from 1), or None if it has ended before.
Objective = Callable[[int, int], Mapping[str, Any] | None]
#: Simulated seconds from one report of a trial to the next.
Duration = Callable[[int, int], float]
#: Whether the trial fails instead of reporting.
Failure = Callable[[int, int], bool]


class BrokenPromise(AssertionError):
    """A trial got a decision at a result that its `run_until` said it could pass."""


class SimulatedController:
    """`ControllerView` for the hooks of a scheduler.

    Args:
        slots: How many trials run at once.
        keep_finished: Keep finished trials; False saves memory, but `get_trials` lacks them then.
    """

    def __init__(self, slots: int, keep_finished: bool = True) -> None:
        self.free_slots = slots
        self.requests: dict[str, str] = {}
        #: Ends a trial that waits.
        self.drop: Callable[[Trial], None] = self.finish
        self._keep_finished = keep_finished
        self._trials: dict[str, Trial] = {}
        self._live: dict[str, Trial] = {}

    @property
    def search_alg(self) -> Any:
        """None: nothing searches."""
        return None

    def get_trials(self) -> list[Trial]:
        return list(self._trials.values())

    def get_live_trials(self) -> list[Trial]:
        return list(self._live.values())

    def get_waiting_trials(self) -> list[Trial]:
        return [trial for trial in self._live.values() if trial.status in (PENDING, PAUSED)]

    def get_trial(self, trial_id: str) -> Trial | None:
        return self._trials.get(trial_id)

    def has_resources_for_trial(self, trial: Trial) -> bool:
        return self.free_slots > 0

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        self.requests[trial.trial_id] = TrialScheduler.PAUSE

    def stop_trial(self, trial: Trial) -> None:
        if trial.status == RUNNING:
            self.requests[trial.trial_id] = TrialScheduler.STOP
        elif not trial.is_finished():
            self.drop(trial)

    def restore_trial_from(
        self,
        trial: Trial,
        source: Trial,
        checkpoint: TrialCheckpoint | None = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Return False: trials of a `Simulation` have no checkpoints."""
        return False

    def change_trial(
        self,
        trial: Trial,
        *,
        config: dict[str, Any] | None = None,
        resources: Resources | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Pause the trial if it runs, change nothing else, and return True."""
        if trial.status == RUNNING:
            self.pause_trial(trial)
        return True

    def get_node_resources(self) -> list[Resources]:
        """Return []: no node is known."""
        return []

    def save_checkpoint(self, trial: Trial) -> None:
        """Do nothing: trials of a `Simulation` have no checkpoints."""

    def add(self, trial: Trial) -> None:
        """Add a new trial."""
        self._trials[trial.trial_id] = self._live[trial.trial_id] = trial

    def finish(self, trial: Trial) -> None:
        """End a trial, which will not run again."""
        trial.status = TERMINATED
        self._live.pop(trial.trial_id, None)
        if not self._keep_finished:
            self._trials.pop(trial.trial_id, None)

    @property
    def num_live(self) -> int:
        """Number of unfinished trials."""
        return len(self._live)


@dataclass(slots=True)
class _Run:
    """A trial as it runs: its number, step, reports of this attempt, and where it waits."""

    trial: Trial
    index: int
    step: int = 0
    since_restore: int = 0
    elapsed: float = 0.0
    until: RunUntil = NEVER


@dataclass
class Simulation:
    """Runs a scheduler and a stopper on simulated trials.

    Attributes:
        objective: What trials report.
        num_trials: How many there are. They come up one by one, as slots get free.
        scheduler: The scheduler; it must know its metric and mode.
        stopper: The stopper.
        slots: How many run at once.
        duration: Seconds between reports; 1 by default.
        failure: Where attempts fail; the trial starts again from its first step. The failure of a
            step happens once.
        pending: How many trials are kept waiting for a slot.
        wait_at_each_result: Let trials wait, and so ask for `run_until` again, at each result; else
            only where the last `run_until` said so, as real trials do.
        keep_finished: Keep `Trial` objects of finished trials.
        record: Keep `decisions`.
        decisions: ``(trial_id, step, decision)`` in order, decisions of stoppers included.
        num_results: Number of results so far.
        num_waits: At how many of them the trial had to wait.
        now: Simulated time.
    """

    objective: Objective
    num_trials: int = 10
    scheduler: TrialScheduler = field(default_factory=FIFOScheduler)
    stopper: Stopper = field(default_factory=NoopStopper)
    slots: int = 2
    duration: Duration = lambda index, step: 1.0
    failure: Failure = lambda index, step: False
    pending: int = 1
    wait_at_each_result: bool = False
    keep_finished: bool = True
    record: bool = True
    decisions: list[tuple[str, int, str]] = field(default_factory=list)
    num_results: int = 0
    num_waits: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.controller = SimulatedController(self.slots, self.keep_finished)
        self.controller.drop = self._drop
        self._runs: dict[str, _Run] = {}
        self._queue: list[tuple[float, int, _Run]] = []
        self._launched = 0
        self._created = 0
        self._pending = 0
        self._failed: set[tuple[int, int]] = set()
        self.stopper.on_time(self.now)
        self._fill_slots()

    def run(self, max_results: int | None = None) -> Simulation:
        """Run until all trials have ended, or for so many results more.

        Raises:
            BrokenPromise: If a trial got a decision where it was not said to wait.
            RuntimeError: If trials are left that nobody will run.
        """
        end = None if max_results is None else self.num_results + max_results
        while self._queue and self.num_results != end:
            self.now, _, run = heapq.heappop(self._queue)
            self.stopper.on_time(self.now)
            self._step(run)
            if self.stopper.stop_all():
                self._stop_all()
            self._fill_slots()
        if not self._queue and self.controller.num_live:
            left = ", ".join(map(repr, self.controller.get_live_trials()[:5]))
            raise RuntimeError(f"{self.scheduler.debug_string()} leaves trials behind: {left}.")
        return self

    @property
    def is_over(self) -> bool:
        """True if no trial runs any more."""
        return not self._queue

    def _fill_slots(self) -> None:
        controller = self.controller
        while controller.free_slots > 0:
            self._top_up()
            trial = self.scheduler.choose_trial_to_run(controller)
            if trial is None:
                return
            self._launch(trial)
        self._top_up()

    def _top_up(self) -> None:
        while self._created < self.num_trials and self._pending < self.pending:
            trial = Trial(f"{self._created:05d}", {"index": self._created})
            self._runs[trial.trial_id] = _Run(trial, self._created)
            self._created += 1
            self._pending += 1
            self.controller.add(trial)
            self.scheduler.on_trial_add(self.controller, trial)

    def _launch(self, trial: Trial) -> None:
        assert trial.status in (PENDING, PAUSED), f"chose {trial!r}"
        if trial.status == PENDING:
            self._pending -= 1
        trial.status = RUNNING
        trial.attempt += 1
        self.controller.free_slots -= 1
        run = self._runs[trial.trial_id]
        run.since_restore = 0
        run.until = self._until(trial)
        self._schedule(run)

    def _schedule(self, run: _Run) -> None:
        seconds = self.duration(run.index, run.step + 1)
        run.elapsed += seconds
        self._launched += 1
        heapq.heappush(self._queue, (self.now + seconds, self._launched, run))

    def _step(self, run: _Run) -> None:
        trial, step = run.trial, run.step + 1
        if self.failure(run.index, step) and (run.index, step) not in self._failed:
            self._failed.add((run.index, step))
            self._fail(run)
            return
        metrics = self.objective(run.index, step)
        if metrics is None:
            self._finish(run)
            return
        run.step = step
        run.since_restore += 1
        self.num_results += 1
        result = {
            "training_iteration": step,
            "iterations_since_restore": run.since_restore,
            "time_total_s": run.elapsed,
            "timestamp": self.now,
            "done": False,
            "trial_id": trial.trial_id,
            **metrics,
        }
        waits = run.until.reached(result)
        self.num_waits += waits
        decision = self._decide(trial, result)
        if self.record:
            self.decisions.append((trial.trial_id, step, decision))
        if decision in (TrialScheduler.PAUSE, TrialScheduler.STOP) and not waits:
            raise BrokenPromise(f"{decision} at {result}, though {run.until} was promised.")
        trial.last_result = result
        self._carry_out(run, self.controller.requests.pop(trial.trial_id, decision), waits)

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        if self.stopper(trial.trial_id, result):
            return TrialScheduler.STOP
        return self.scheduler.on_trial_result(self.controller, trial, result)

    def _carry_out(self, run: _Run, decision: str, waits: bool) -> None:
        if decision == TrialScheduler.STOP:
            self._finish(run)
        elif decision == TrialScheduler.PAUSE:
            run.trial.status = PAUSED
            self.controller.free_slots += 1
        else:
            assert decision in (TrialScheduler.CONTINUE, TrialScheduler.NOOP), decision
            if waits or self.wait_at_each_result:
                run.until = self._until(run.trial)
            self._schedule(run)

    def _finish(self, run: _Run) -> None:
        self.scheduler.on_trial_complete(self.controller, run.trial, run.trial.last_result)
        self.controller.finish(run.trial)
        self.controller.free_slots += 1
        del self._runs[run.trial.trial_id]

    def _fail(self, run: _Run) -> None:
        self.scheduler.on_trial_error(self.controller, run.trial)
        self.controller.free_slots += 1
        run.step = 0
        run.elapsed = 0.0
        run.trial.status = PENDING
        self._pending += 1
        self.scheduler.on_trial_add(self.controller, run.trial)

    def _stop_all(self) -> None:
        self.num_trials = self._created
        self._queue.clear()
        for run in list(self._runs.values()):
            if run.trial.status == RUNNING:
                self._finish(run)
            elif not run.trial.is_finished():  # by its scheduler, behind the others
                self._drop(run.trial)
        self._pending = 0

    def _drop(self, trial: Trial) -> None:
        self.scheduler.on_trial_remove(self.controller, trial)
        self._pending -= trial.status == PENDING
        self.controller.finish(trial)
        del self._runs[trial.trial_id]

    def _until(self, trial: Trial) -> RunUntil:
        return self.scheduler.run_until(trial) | self.stopper.run_until(trial.trial_id)
