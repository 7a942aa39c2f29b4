"""Simulated trials for schedulers and stoppers, for tests.

A `Simulation` runs the coordinator of real sweeps on simulated trials, and checks that no trial
gets a decision where it was told not to wait for one. A `SimulatedController` is for calls of a
scheduler's hooks one by one.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import AskSearch, Command, Decide, Launch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    Event,
    Node,
    ResultReported,
    SearchIdle,
    Tick,
    TrialSuggested,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.decision import EVERY_RESULT, Action
from prefect_tune.experiment.trial import PAUSED, PENDING, TERMINATED, Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler
from prefect_tune.simulation.attempt import Step
from prefect_tune.simulation.executor import SimulatedExecutor
from prefect_tune.stopper import NoopStopper, Stopper

#: The metrics that trial `index` reports at step `step` (from 1), or None if it has ended before.
Objective = Callable[[int, int], Mapping[str, Any] | None]
#: Simulated seconds from one report of a trial to the next.
Duration = Callable[[int, int], float]
#: Whether the trial fails, once, instead of reporting.
Failure = Callable[[int, int], bool]

_ONE = Resources.of(CPU=1)


class BrokenPromise(AssertionError):
    """A trial got a decision at a result that its `run_until` said it could pass."""


class SimulatedController:
    """`ControllerView` for hooks of a scheduler that are called one by one; requests do nothing.

    Args:
        slots: How many trials can run at a time.
    """

    search_alg: Any = None

    def __init__(self, slots: int) -> None:
        self.free_slots = slots
        self._trials: dict[str, Trial] = {}
        self._live: dict[str, Trial] = {}

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

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None: ...

    def stop_trial(self, trial: Trial) -> None: ...

    def restore_trial_from(
        self,
        trial: Trial,
        source: Trial,
        checkpoint: TrialCheckpoint | None = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        return False

    def change_trial(
        self,
        trial: Trial,
        *,
        config: dict[str, Any] | None = None,
        resources: Resources | None = None,
        experiment_tag: str = "",
    ) -> bool:
        return True

    def get_node_resources(self) -> list[Resources]:
        return []

    def save_checkpoint(self, trial: Trial) -> None: ...

    def add(self, trial: Trial) -> None:
        """Add a new trial."""
        self._trials[trial.trial_id] = self._live[trial.trial_id] = trial

    def finish(self, trial: Trial) -> None:
        """End a trial, which will not run again."""
        trial.status = TERMINATED
        self._live.pop(trial.trial_id, None)


class _Present:
    """The present scheduler or stopper of a simulation, in which a test may replace it."""

    def __init__(self, get: Callable[[], Any]) -> None:
        self._get = get

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get(), name)

    def __call__(self, *arguments: Any) -> Any:
        return self._get()(*arguments)


class Simulation:
    """Runs a scheduler and a stopper on simulated trials.

    Args:
        objective: What trials report.
        num_trials: How many trials there are.
        scheduler: The scheduler; `run` goes on with another one that is set in its place.
        stopper: The stopper; the same holds for it.
        slots: How many trials run at a time.
        duration: How long a trial works for a result.
        failure: Where trials fail; they are tried again, from their last pause.
        pending: How many trials may wait for a slot.
        wait_at_each_result: Have trials wait at each result, whatever scheduler and stopper say.

    Attributes:
        controller: What the scheduler's hooks get.
        decisions: Trial, step and decision at each result, in order, up to a stop of all.
        num_waits: How many times a trial has waited for a decision.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        num_trials: int = 10,
        scheduler: TrialScheduler | None = None,
        stopper: Stopper | None = None,
        slots: int = 2,
        duration: Duration = lambda index, step: 1.0,
        failure: Failure = lambda index, step: False,
        pending: int = 1,
        wait_at_each_result: bool = False,
    ) -> None:
        self.scheduler = FIFOScheduler() if scheduler is None else scheduler
        self.scheduler.set_search_properties(None, None, seed=0)
        self.stopper = NoopStopper() if stopper is None else stopper
        self.decisions: list[tuple[str, int, str]] = []
        self.num_waits = 0
        self._objective, self._duration, self._failure = objective, duration, failure
        self._failed: set[tuple[int, int]] = set()
        self._new = iter(range(num_trials))
        self._waits_at_each_result = wait_at_each_result
        self._inbox: deque[Event] = deque()
        scheduler_now: Any = _Present(lambda: self.scheduler)
        stopper_now: Any = _Present(lambda: self.stopper)
        options = CoordinatorOptions(lookahead=pending, max_failures=-1)
        self.controller = Coordinator(scheduler_now, stopper_now, options)
        self.controller.keep_no_records()
        node = Node("node-1", Resources.of(CPU=slots))
        self._executor = SimulatedExecutor(self._program, [node])
        self._executor.start("simulated", self._inbox.append)
        self._handle(Tick(0.0))

    @property
    def num_results(self) -> int:
        """How many results there were."""
        return len(self.decisions)

    @property
    def is_over(self) -> bool:
        """Whether all trials have ended."""
        return self.controller.finished

    def run(self, max_results: int | None = None) -> Simulation:
        """Run until all trials have ended, or for so many results more.

        Raises:
            BrokenPromise: If a trial is paused or stopped at a result at which it does not wait.
            RuntimeError: If there are trials that nobody will run.
        """
        end = None if max_results is None else self.num_results + max_results
        while not self.is_over and self.num_results != end:
            if self._inbox:
                self._handle(self._inbox.popleft())
            elif not self._executor.step():
                self._handle(Tick(self._executor.now))
                if not (self._inbox or self.is_over or self._executor.num_attempts):
                    left = ", ".join(map(repr, self.controller.get_live_trials()[:5]))
                    raise RuntimeError(f"{self.scheduler.debug_string()} leaves behind: {left}.")
        return self

    def _program(self, config: dict[str, Any]) -> Iterator[Step]:
        index = config["index"]
        for step in itertools.count(1):
            if self._failure(index, step) and (index, step) not in self._failed:
                self._failed.add((index, step))
                raise RuntimeError("simulated")
            metrics = self._objective(index, step)
            if metrics is None:
                return
            # No two things happen at the same time: their order would depend on who waits.
            unlike = (index * 7919 + step * 104_729) % 10_007 * 1e-10
            yield Step(dict(metrics), self._duration(index, step) + unlike)

    def _handle(self, event: Event) -> None:
        if isinstance(event, ResultReported):
            self._handle(Tick(event.time))
        is_decided = isinstance(event, ResultReported) and not self.controller.stopping
        commands = self.controller.handle(event)
        if isinstance(event, ResultReported) and is_decided:
            self._note_decision(event, commands)
        for command in commands:
            if isinstance(command, AskSearch):
                self._suggest(command.count)
            elif isinstance(command, (Launch, Decide)):
                if self._waits_at_each_result:
                    command = replace(command, run_until=EVERY_RESULT)
                if isinstance(command, Launch):
                    self._executor.begin(command, command.trial_id)
                else:
                    self._executor.decide([command])

    def _note_decision(self, event: ResultReported, commands: list[Command]) -> None:
        action, (result,) = Action.CONTINUE, event.results
        if event.awaiting or not self.controller.stopping:
            own = (c for c in commands if isinstance(c, Decide) and c.trial_id == event.trial_id)
            action = next((decision.action for decision in own), action)
        self.num_waits += event.awaiting
        self.decisions.append((event.trial_id, result["training_iteration"], action.value))
        if action in (Action.STOP, Action.PAUSE) and not event.awaiting:
            raise BrokenPromise(f"{action.value} at {result}, where the trial did not wait.")

    def _suggest(self, count: int) -> None:
        for index in itertools.islice(self._new, count):
            trial_id, config = f"{index:05d}", {"index": index}
            self._inbox.append(
                TrialSuggested(self._executor.now, trial_id, config, config, str(index), _ONE)
            )
            count -= 1
        if count:
            self._inbox.append(SearchIdle(self._executor.now, finished=True))
