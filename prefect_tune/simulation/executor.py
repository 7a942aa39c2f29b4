"""An executor without processes, threads or a clock: attempts run in simulated time.

For tests of everything above the execution seam, and for simulating sweeps of any size. Nothing
happens by itself: `step` lets the next thing happen.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    CheckpointFailed,
    CheckpointSaved,
    Event,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.base import Emit, ExperimentEnv, Fail, TakeOutput, TrialPlace
from prefect_tune.execution.driver.preflight import check_fits
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.resources import Resources
from prefect_tune.simulation.attempt import Program, SimulatedAttempt, Step
from prefect_tune.simulation.storage import SimulatedStorage

__all__ = ["Program", "SimulatedExecutor", "Step"]

_ENDINGS = {Action.STOP: Outcome.STOPPED, Action.PAUSE: Outcome.PAUSED}


class SimulatedExecutor:
    """An `Executor` in simulated time; deterministic.

    Args:
        program: What every trial does.
        nodes: Where attempts can run.
        start_s: Seconds between a launch and the first work of the attempt.
        decision_s: Seconds that a decision travels.
        now: Time at the beginning, seconds since the epoch.
        checkpoint_every: Trials checkpoint with every so many results; 0 only where a `Step` says
            so.
        checkpoint_at_pause: Trials checkpoint when they pause.
        storage: Where checkpoints are.

    Attributes:
        now: The simulated time.
        experiment_id: Shown in results; of the environment given to `open`.
        storage: Where checkpoints are.
    """

    def __init__(
        self,
        program: Program,
        nodes: Sequence[Node],
        *,
        start_s: float = 0.0,
        decision_s: float = 0.0,
        now: float = 0.0,
        checkpoint_every: int = 0,
        checkpoint_at_pause: bool = False,
        storage: SimulatedStorage | None = None,
    ) -> None:
        self.now = now
        self.storage = SimulatedStorage() if storage is None else storage
        self.experiment_id = ""
        self._program = program
        self._nodes = {node.address: node for node in nodes}
        self._start_s = start_s
        self._decision_s = decision_s
        self._checkpoint_every = checkpoint_every
        self._checkpoint_at_pause = checkpoint_at_pause
        self._stop_grace_s = 10.0
        self._emit: Emit = _nobody
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._attempts: dict[tuple[str, int], SimulatedAttempt] = {}

    # -- time -------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Let the next thing happen; False if nothing is going to.

        One thing may emit several events, e.g. a last result and the end of its attempt.
        """
        if not self._agenda:
            return False
        self.now, _, action = heapq.heappop(self._agenda)
        action()
        return True

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call `action` at a simulated time, e.g. ``lambda: executor.lose_node(address)``."""
        heapq.heappush(self._agenda, (max(time, self.now), next(self._order), action))

    # -- the executor -----------------------------------------------------------------------------

    def open(
        self,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None = None,
        output: TakeOutput | None = None,
    ) -> None:
        """See `Executor.open`."""
        self.experiment_id = env.experiment_id
        self._stop_grace_s = env.stop_grace_s
        self._emit = emit
        self._announce()

    def validate_request(self, resources: Resources) -> None:
        """See `Executor.validate_request`."""
        check_fits(resources, {node.address: node.resources for node in self._nodes.values()})

    def capacity(self) -> tuple[Node, ...]:
        """See `Executor.capacity`."""
        return tuple(self._nodes.values())

    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        """Nodes come by `add_node` only."""

    def dashboard(self) -> str | None:
        """There is none."""
        return None

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        """See `Executor.launch`."""
        constants = {
            "trial_id": launch.trial_id,
            "experiment_id": self.experiment_id,
            "experiment_tag": place.experiment_tag,
            "config": launch.config,
            "hostname": launch.node,
            "node_ip": launch.node,
            "pid": 0,
        }
        attempt = SimulatedAttempt(
            launch, iter(()), constants, launch.run_until, place.relative_dir
        )
        self._attempts[attempt.key] = attempt
        if launch.node in self._nodes:
            self._after(self._start_s, attempt, self._begin)
        else:
            self._after(0, attempt, self._lose)
        return attempt.ended

    def decide(self, decisions: Sequence[Decide]) -> None:
        """See `Executor.decide`."""
        for decision in decisions:
            attempt = self._attempts.get((decision.trial_id, decision.attempt))
            if attempt is not None:
                obey = functools.partial(self._obey, decision)
                self._after(self._decision_s, attempt, obey)

    def kill(self, kills: Sequence[Kill]) -> None:
        """See `Executor.kill`."""
        for kill in kills:
            attempt = self._attempts.get((kill.trial_id, kill.attempt))
            if attempt is not None:
                stop = Decide(kill.trial_id, kill.attempt, kill.node, 0, Action.STOP)
                self._after(self._decision_s, attempt, functools.partial(self._obey, stop))
                # The next rung of the ladder, at which real trials get SIGTERM.
                self._after(
                    self._decision_s + self._stop_grace_s,
                    attempt,
                    lambda a: self._end(a, Outcome.STOPPED),
                )

    def close(self) -> None:
        """See `Executor.close`."""
        for attempt in list(self._attempts.values()):
            self._end(attempt, Outcome.LOST, AttemptError("lost", "the experiment was closed"))
        self._agenda.clear()

    # -- mishaps ----------------------------------------------------------------------------------

    def fail(self, trial_id: str, error: AttemptError) -> None:
        """Have the running attempt of a trial fail now."""
        for attempt in list(self._attempts.values()):
            if attempt.launch.trial_id == trial_id:
                self._end(attempt, Outcome.FAILED, error)

    def lose_node(self, address: str) -> None:
        """Take a node away, with all that runs on it."""
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

    def _after(
        self, seconds: float, attempt: SimulatedAttempt, action: Callable[[SimulatedAttempt], None]
    ) -> None:
        def act() -> None:
            if self._attempts.get(attempt.key) is attempt:
                action(attempt)

        self.at(self.now + seconds, act)

    def _begin(self, attempt: SimulatedAttempt) -> None:
        launch = attempt.launch
        self._emit(
            AttemptStarted(
                self.now, launch.trial_id, launch.attempt, launch.node, 0, launch.node, launch.node
            )
        )
        problem = None if launch.checkpoint is None else self.storage.problem(launch.checkpoint)
        if problem is not None:
            self._end(attempt, Outcome.FAILED, problem)
            return
        steps = self._program(launch.config)
        attempt.steps = itertools.islice(steps, launch.progress.iteration, None)
        self._go_on(attempt)

    def _go_on(self, attempt: SimulatedAttempt) -> None:
        """Do the attempt's next piece of work and schedule its outcome."""
        try:
            item = next(attempt.steps)
        except StopIteration:
            self._end(attempt, Outcome.FINISHED)
        except Exception as error:  # the simulated trial's own
            self._end(attempt, Outcome.FAILED, AttemptError(type(error).__name__, str(error)))
        else:
            step = item if isinstance(item, Step) else Step(item)
            self._after(step.seconds, attempt, functools.partial(self._report, step))

    def _report(self, step: Step, attempt: SimulatedAttempt) -> None:
        result = attempt.report(step, self.now)
        self._emit(
            ResultReported(self.now, *attempt.key, attempt.seq, (result,), awaiting=attempt.waiting)
        )
        every = self._checkpoint_every
        if step.checkpoint or (every and result["training_iteration"] % every == 0):
            self._save(attempt)
        if attempt.ending is not None:
            self._leave(attempt, attempt.ending)
        elif not attempt.waiting:
            self._go_on(attempt)

    def _save(self, attempt: SimulatedAttempt) -> None:
        """Take a checkpoint of an attempt to storage."""
        result = attempt.last_result
        path = f"{attempt.directory}/checkpoint_{result['training_iteration']:06d}"
        path += attempt.launch.checkpoint_suffix
        if path == attempt.saved:
            return
        attempt.saved = path
        seconds = self.storage.upload_s(path)
        settle = functools.partial(self._settle, attempt, path, result, seconds is not None)
        if seconds == 0:
            settle()
            return
        attempt.uploading += 1

        def arrive() -> None:
            attempt.uploading -= 1
            if attempt.launch.node in self._nodes:
                settle()

        self.at(self.now + (seconds or 0.0), arrive)

    def _settle(
        self, attempt: SimulatedAttempt, path: str, result: dict[str, Any], good: bool
    ) -> None:
        if good:
            self.storage.put(path)
            self._emit(CheckpointSaved(self.now, *attempt.key, path, result))
        else:
            self._emit(CheckpointFailed(self.now, *attempt.key, path, "the upload was given up"))

    def _obey(self, decision: Decide, attempt: SimulatedAttempt) -> None:
        ending = _ENDINGS.get(decision.action)
        if ending is not None:
            attempt.ending = ending
            if attempt.waiting:
                self._leave(attempt, ending)
            return
        attempt.run_until = decision.run_until
        if attempt.waiting and decision.seq == attempt.seq:
            attempt.waiting = False
            self._go_on(attempt)

    def _leave(self, attempt: SimulatedAttempt, ending: Outcome) -> None:
        """End an attempt at a report, as it was told."""
        if ending is Outcome.PAUSED and self._checkpoint_at_pause:
            self._save(attempt)
        self._end(attempt, ending)

    def _lose(self, attempt: SimulatedAttempt) -> None:
        message = f"the worker at {attempt.launch.node} is lost"
        self._end(attempt, Outcome.LOST, AttemptError("lost", message))

    def _end(
        self, attempt: SimulatedAttempt, outcome: Outcome, error: AttemptError | None = None
    ) -> None:
        del self._attempts[attempt.key]
        close = getattr(attempt.steps, "close", None)
        if close is not None:
            close()
        lost = attempt.launch.node not in self._nodes
        uploading = 0 if lost else attempt.uploading
        event = AttemptEnded(self.now, *attempt.key, outcome, error, uploading=uploading)
        self._emit(event)
        attempt.ended.set_result(event)

    def _announce(self) -> None:
        self._emit(CapacityChanged(self.now, self.capacity()))


def _nobody(event: Event) -> None:
    raise RuntimeError(f"open() comes first; {event!r} has no taker")
