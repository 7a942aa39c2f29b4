"""Runs attempts in simulated time, without processes, threads or a clock.

Time advances only when `step` is called, to the next scheduled action.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    CheckpointSaved,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.base import Emit
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.resources import MILLI
from prefect_tune.simulation.attempt import Program, Report, SimulatedAttempt, constants_of

_ENDINGS = {Action.STOP: Outcome.STOPPED, Action.PAUSE: Outcome.PAUSED}


class SimulatedExecutor:
    """Runs the attempts of a sweep in simulated time; deterministic.

    Args:
        program: The steps of every trial.
        nodes: The nodes of the cluster.
        start_s: Seconds between a launch and the first work of the attempt.
        checkpoint_every: Results between two checkpoints of a trial; 0 writes them only at a pause
            and where a `Step` asks for one.
        batch: How many results of a trial may be delivered together, at the time of the last one.

    Attributes:
        now: The simulated time.
        experiment_id: Shown in results.
        hours_used: Hours for which attempts have held each resource, by name.
        ended_hours: Hours that ended attempts have run.
        start_s: Seconds between a launch and the first work of the attempt.
    """

    def __init__(
        self,
        program: Program,
        nodes: Sequence[Node],
        *,
        start_s: float = 0.0,
        checkpoint_every: int = 0,
        batch: int = 1,
    ) -> None:
        self.now = 0.0
        self.experiment_id = ""
        self.hours_used: dict[str, float] = defaultdict(float)
        self._program = program
        self._nodes = {node.address: node for node in nodes}
        self.start_s = start_s
        self._checkpoint_every = checkpoint_every
        self._batch = batch
        self._stop_grace_s = 10.0  # as the setting of this name
        self._emit: Emit
        self.ended_hours = 0.0
        self._agenda: list[
            tuple[float, int, SimulatedAttempt | None, Callable[..., None], Any]
        ] = []
        self._order = itertools.count()
        self._attempts: dict[tuple[str, int], SimulatedAttempt] = {}

    # -- time -------------------------------------------------------------------------------------

    def step(self, until: float = math.inf) -> bool:
        """Advance the time to the next scheduled action and do it; return False if there is none.

        An action may emit several events, e.g. a last result and the end of its attempt.

        Args:
            until: Latest time of an action that is done.
        """
        agenda = self._agenda
        if not agenda or agenda[0][0] > until:
            return False
        self.now, _, attempt, action, argument = heapq.heappop(agenda)
        if attempt is None:
            action(*argument)
        elif not attempt.over:
            action(attempt, *argument)
        return True

    @property
    def num_attempts(self) -> int:
        """Number of running attempts."""
        return len(self._attempts)

    def attempt_hours(self) -> float:
        """Return the hours that all attempts together have run by now."""
        running = sum(self.now - attempt.launched for attempt in self._attempts.values())
        return self.ended_hours + running / 3600

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call `action` at a simulated time, e.g. ``lambda: executor.lose_node(address)``."""
        self._at(time, None, action)

    def _at(
        self,
        time: float,
        attempt: SimulatedAttempt | None,
        action: Callable[..., None],
        *argument: Any,
    ) -> None:
        """Call `action` at a time, unless `attempt` is given and has ended by then."""
        entry = (
            time if time > self.now else self.now,
            next(self._order),
            attempt,
            action,
            argument,
        )
        heapq.heappush(self._agenda, entry)

    # -- the executor -----------------------------------------------------------------------------

    def start(self, experiment_id: str, emit: Emit) -> None:
        """Begin the experiment, and emit its nodes."""
        self.experiment_id = experiment_id
        self._emit = emit
        self._announce()

    def capacity(self) -> tuple[Node, ...]:
        """Return the current nodes."""
        return tuple(self._nodes.values())

    def begin(
        self,
        launch: Launch,
        directory: str,
        experiment_tag: str = "",
        *,
        slowdown: float = 1.0,
    ) -> SimulatedAttempt:
        """Start an attempt.

        Args:
            launch: The attempt.
            directory: Trial directory below the experiment directory.
            experiment_tag: The trial's tag.
            slowdown: Factor by which its steps take longer than its program says.
        """
        constants = constants_of(
            launch.trial_id, self.experiment_id, experiment_tag, launch.config, launch.node
        )
        attempt = SimulatedAttempt(
            launch, constants, launch.run_until, directory, self.now, slowdown
        )
        self._attempts[attempt.key] = attempt
        if launch.node in self._nodes:
            self._at(self.now + self.start_s, attempt, self._begin)
        else:
            self._at(self.now, attempt, self._lose)
        return attempt

    def decide(self, decisions: Sequence[Decide]) -> None:
        """Pass decisions to attempts that still run."""
        for decision in decisions:
            attempt = self._attempts.get((decision.trial_id, decision.attempt))
            if attempt is not None:
                self._at(self.now, attempt, self._apply_decision, decision)

    def kill(self, kills: Sequence[Kill]) -> None:
        """Ask attempts to stop, and end them by force after a grace period."""
        for kill in kills:
            attempt = self._attempts.get(kill.key)
            if attempt is not None:
                stop = Decide(*kill.key, kill.node, 0, Action.STOP)
                self._at(self.now, attempt, self._apply_decision, stop)
                # The next rung of the ladder, at which real trials get SIGTERM.
                self._at(self.now + self._stop_grace_s, attempt, self._end, Outcome.STOPPED)

    # -- faults -----------------------------------------------------------------------------------

    def fail_after(self, seconds: float, attempt: SimulatedAttempt, error: AttemptError) -> None:
        """Make an attempt fail after some seconds, if it still runs then."""
        self._at(self.now + seconds, attempt, self._end, Outcome.FAILED, error)

    def lose_node(self, address: str) -> None:
        """Remove a node, and end its attempts as lost."""
        del self._nodes[address]
        for attempt in list(self._attempts.values()):
            if attempt.launch.node == address:
                self._lose(attempt)
        self._announce()

    def add_node(self, node: Node) -> None:
        """Add a node."""
        self._nodes[node.address] = node
        self._announce()

    # -- attempts ---------------------------------------------------------------------------------

    def _begin(self, attempt: SimulatedAttempt) -> None:
        launch = attempt.launch
        self._emit(AttemptStarted(self.now, *attempt.key, launch.node, 0, launch.node, launch.node))
        steps = iter(self._program(launch.config))
        begin = launch.progress.iteration
        attempt.steps = itertools.islice(steps, begin, None) if begin else steps
        self._go_on(attempt)

    def _go_on(self, attempt: SimulatedAttempt) -> None:
        """Compute the next reports of an attempt, and schedule their delivery."""
        reports: list[Report] = []
        if attempt.failure is None:
            reports = attempt.work(self.now, self._batch, self._checkpoint_every)
        if reports:
            self._at(reports[-1].time, attempt, self._deliver, reports)
        elif attempt.failure is not None:
            self._end(attempt, Outcome.FAILED, attempt.failure)
        else:
            self._end(attempt, Outcome.FINISHED)

    def _deliver(self, attempt: SimulatedAttempt, reports: list[Report]) -> None:
        if reports is not attempt.reports:
            return  # it was cut short since
        attempt.reports = []
        last = reports[-1]
        attempt.waiting = last.waits
        self._emit_results(attempt, reports, attempt.waiting)
        if last.checkpoint:
            self._save(attempt)
        if attempt.ending is not None:
            self._leave(attempt, attempt.ending)
        elif not attempt.waiting:
            self._go_on(attempt)

    def _emit_results(
        self, attempt: SimulatedAttempt, reports: list[Report], awaiting: bool = False
    ) -> None:
        first = attempt.seq + 1
        attempt.seq += len(reports)
        attempt.last_result = reports[-1].result
        launch = attempt.launch
        self._emit(
            ResultReported(
                self.now,
                launch.trial_id,
                launch.attempt,
                first,
                tuple([report.result for report in reports]),
                awaiting,
            )
        )

    def _cut_short(self, attempt: SimulatedAttempt) -> None:
        """Split a batch of an attempt: deliver the finished steps and the current one only."""
        reports = attempt.reports
        if len(reports) < 2 or reports[-2].time <= self.now:
            return
        last = next(i for i, report in enumerate(reports) if report.time > self.now)
        attempt.reports = reports[: last + 1]
        self._at(attempt.reports[-1].time, attempt, self._deliver, attempt.reports)

    def _save(self, attempt: SimulatedAttempt) -> None:
        """Save a checkpoint of an attempt."""
        result = attempt.last_result
        path = f"{attempt.directory}/checkpoint_{result['training_iteration']:06d}"
        path += attempt.launch.checkpoint_suffix
        if path == attempt.saved:
            return
        attempt.saved = path
        self._store(attempt, path, result)

    def _store(self, attempt: SimulatedAttempt, path: str, result: dict[str, Any]) -> None:
        """Emit that a checkpoint is in storage; it takes no time, as on a shared file system."""
        self._emit(CheckpointSaved(self.now, *attempt.key, path, result))

    def _apply_decision(self, attempt: SimulatedAttempt, decision: Decide) -> None:
        ending = _ENDINGS.get(decision.action)
        if ending is not None:
            attempt.ending = ending
            if attempt.waiting:
                self._leave(attempt, ending)
            else:
                self._cut_short(attempt)
            return
        attempt.run_until = decision.run_until
        if decision.action is Action.SAVE:
            self._save(attempt)
        if attempt.reports:
            last = attempt.reports[-1]
            last.waits = attempt.waits_at(last.result)
        if attempt.waiting and decision.seq == attempt.seq:
            attempt.waiting = False
            self._go_on(attempt)

    def _leave(self, attempt: SimulatedAttempt, ending: Outcome) -> None:
        """End an attempt at a report, as a decision or a `kill` has asked."""
        if ending is Outcome.PAUSED:
            self._save(attempt)
        self._end(attempt, ending)

    def _lose(self, attempt: SimulatedAttempt) -> None:
        message = f"the worker at {attempt.launch.node} is lost"
        self._end(attempt, Outcome.LOST, AttemptError("lost", message))

    def _end(
        self, attempt: SimulatedAttempt, outcome: Outcome, error: AttemptError | None = None
    ) -> None:
        launch = attempt.launch
        done = [report for report in attempt.reports if report.time <= self.now]
        if done:  # it is cut off, and what it has reported so far was not delivered yet
            self._emit_results(attempt, done)
        attempt.over = True
        del self._attempts[attempt.key]
        close = getattr(attempt.steps, "close", None)
        if close is not None:
            close()
        hours = (self.now - attempt.launched) / 3600
        self.ended_hours += hours
        for name, milli in launch.resources.milli:
            self.hours_used[name] += hours * milli / MILLI
        self._emit(AttemptEnded(self.now, *attempt.key, outcome, error))

    def _announce(self) -> None:
        self._emit(CapacityChanged(self.now, self.capacity()))
