"""`SimulatedSweep`: the coordinator of real sweeps, with an executor on a virtual clock."""

from __future__ import annotations

import gc
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from prefect_tune.callback import Callback, CallbackList
from prefect_tune.coordinator.commands import (
    Abort,
    AskSearch,
    Command,
    Decide,
    Kill,
    Launch,
    Notice,
    Notify,
    TellSearch,
)
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Event, SearchIdle, Tick
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.resume.replay import tell
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.error import TuneError
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.search.source import Suggestion
from prefect_tune.simulation.attempt import Program
from prefect_tune.simulation.cluster import Faults, SimulatedCluster
from prefect_tune.simulation.executor import SimulatedExecutor
from prefect_tune.simulation.plain_sweep import EXPERIMENT_ID, PlainSweep, suggestion_event
from prefect_tune.simulation.summary import Incumbent, SimulationSummary

_FIRST_TICK_S = 1.0
#: Ticks come no closer than this share of the time that has passed.
_TICK_SHARE = 0.001
_LONGEST_TICK_S = 600.0
_MOST_IDLE_TICKS = 1000
#: Results that may be delivered together to schedulers that do not mind.
_BATCH = 64


class SimulatedSweep:
    """Runs one sweep on a virtual clock.

    Args:
        setup: The sweep; its trainable is not run.
        program: Runs in place of the trainable.
        cluster: The machines.
        options: The options of the coordinator.
        checkpoint_every: Results between two checkpoints of a trial; None chooses it, as `simulate`
            explains.
        callbacks: Callbacks, which are called at once.
        keep_results: Keep `histories`.

    Attributes:
        coordinator: The coordinator.
        summary: Time and cost so far.
        histories: All results of each trial, by its id.
    """

    def __init__(
        self,
        setup: ExperimentSetup,
        program: Program,
        cluster: SimulatedCluster,
        options: CoordinatorOptions,
        *,
        checkpoint_every: int | None = None,
        callbacks: Sequence[Callback] = (),
        keep_results: bool = True,
    ) -> None:
        self._setup = setup
        self._cluster = cluster
        buffers = setup.scheduler.supports_buffered_results
        if checkpoint_every is None:
            checkpoint_every = int(cluster.has_faults or not buffers)
        self._batch = (
            _BATCH if buffers and not keep_results and not setup.source.wants_results else 1
        )
        self.executor = SimulatedExecutor(
            program,
            [cluster.node(number) for number in range(1, cluster.nodes + 1)],
            start_s=cluster.start_s,
            checkpoint_every=checkpoint_every,
            batch=self._batch,
        )
        self._faults = Faults(cluster, self.executor, setup.tune.seed or 0)
        self.coordinator = Coordinator(
            setup.scheduler, setup.stopper, options, search_alg=setup.tune.search_alg
        )
        self.coordinator.keep_no_records()
        self._callbacks = CallbackList(callbacks)
        self._has_callbacks = bool(callbacks)
        self._program, self._options = program, options
        self._is_plain = (
            PlainSweep.can_run(setup, options)
            and not (callbacks or checkpoint_every or cluster.has_faults)
            and cluster.straggler_share == 0
        )
        self._trials: list[Trial] = []
        self._inbox: deque[Event] = deque()
        self._keep_results = keep_results
        self._last_tick = 0.0
        self._error: Exception | None = None
        self.summary = SimulationSummary()
        self.histories: dict[str, list[dict[str, Any]]] = {}
        metric, mode = setup.objectives
        self._metric = metric if isinstance(metric, str) and mode in ("min", "max") else None
        self._sign = 1.0 if mode == "max" else -1.0
        self._best = -math.inf
        self._carry: dict[type[Command], Callable[[Any], None]] = {
            Launch: self._launch,
            Decide: lambda command: self.executor.decide([command]),
            Kill: lambda command: self.executor.kill([command]),
            AskSearch: self._ask,
            TellSearch: lambda command: tell(setup.source, command),
            Notify: self._notify,
            Abort: self._abort,
        }

    def run(self) -> None:
        """Run to the end.

        Raises:
            TuneError: If the sweep cannot go on; says why.
            Exception: The error that has ended it early.
        """
        self._callbacks.setup(
            stop=self._setup.run.stop,
            num_samples=self._setup.tune.num_samples,
            total_num_samples=None,
        )
        with _rare_collections():
            with _seeded(self._setup.tune.seed):
                is_done = self._run_plain()
            if not is_done:
                with _seeded(self._setup.tune.seed):
                    self._loop()
        self._callbacks.on_experiment_end(trials=self.trials)
        summary, cluster = self.summary, self._cluster
        summary.seconds = self.executor.now
        summary.losses = self._faults.losses
        summary.hours_used = dict(self.executor.hours_used)
        summary.trial_hours = self.executor.attempt_hours()
        summary.node_hours = self._faults.node_hours()
        summary.cost = summary.node_hours * cluster.price_per_hour
        if self._error is not None:
            raise self._error

    @property
    def trials(self) -> list[Trial]:
        """All trials, in order of creation."""
        return self._trials or self.coordinator.get_trials()

    def _run_plain(self) -> bool:
        """Run as a `PlainSweep`; return False if that cannot do it, and nothing has happened."""
        setup, executor = self._setup, self.executor
        if setup.resources is None or not self._is_plain:
            return False
        plain = PlainSweep(
            setup,
            setup.resources,
            self._program,
            self._options,
            self.coordinator,
            executor.capacity(),
            executor.start_s,
            self._keep_results,
            self._batch,
        )
        if not plain.run():
            return False
        self._trials, self.summary, self.histories = plain.trials, plain.summary, plain.histories
        executor.now, executor.ended_hours = plain.now, plain.hours
        executor.hours_used = plain.hours_used
        return True

    def _loop(self) -> None:
        coordinator, executor, inbox = self.coordinator, self.executor, self._inbox
        executor.start(EXPERIMENT_ID, inbox.append)
        self._handle(Tick(0.0))
        idle, tick = 0, self._next_tick()
        while not coordinator.finished:
            if inbox:
                self._handle(inbox.popleft())
                continue
            if executor.step(tick):
                continue
            executor.now = self._last_tick = tick
            self._handle(Tick(tick))
            tick = self._next_tick()
            idle = 0 if executor.num_attempts else idle + 1
            if idle > _MOST_IDLE_TICKS:
                reason = coordinator.waiting_for() or "no trial runs and none waits"
                raise TuneError(f"The simulated sweep does not go on: {reason}.")

    def _next_tick(self) -> float:
        last = self._last_tick
        every = min(max(_FIRST_TICK_S, _TICK_SHARE * last), _LONGEST_TICK_S)
        tick = last + every
        budget = self._setup.tune.time_budget_s
        if budget is not None:
            seconds = budget.total_seconds() if hasattr(budget, "total_seconds") else float(budget)
            if last < seconds < tick:
                return seconds
        return tick

    def _handle(self, event: Event) -> None:
        carry = self._carry
        for command in self.coordinator.handle(event):
            act = carry.get(type(command))
            if act is not None:
                act(command)

    # -- commands ---------------------------------------------------------------------------------

    def _launch(self, launch: Launch) -> None:
        self.summary.num_attempts += 1
        trial = self.coordinator.table[launch.trial_id]
        if self._has_callbacks:
            trial.init_logdir()
        self._faults.begin(launch, launch.trial_id, trial.experiment_tag)

    def _ask(self, command: AskSearch) -> None:
        source, now = self._setup.source, self.executor.now
        for _ in range(command.count):
            found = source.next()
            if not isinstance(found, Suggestion):
                self._inbox.append(SearchIdle(now, finished=found is not None))
                return
            self._inbox.append(
                suggestion_event(found, self._setup.resources_for(found.config), now)
            )

    def _abort(self, command: Abort) -> None:
        self._error = self._error or command.error

    def _notify(self, command: Notify) -> None:
        result = command.result
        if result is not None:
            self.summary.num_results += 1
            if self._metric is not None:
                self._update_best(self._metric, command.trial_id, result)
            if self._keep_results:
                self.histories.setdefault(command.trial_id, []).append(result)
        if self._has_callbacks:
            self._call_back(command)

    def _update_best(self, metric: str, trial_id: str, result: dict[str, Any]) -> None:
        """Note a result if it is the best so far."""
        value = result.get(metric)
        if type(value) is not float:
            value = number_of(flatten(result).get(metric))
        if value is not None and self._sign * value > self._best:
            self._best = self._sign * value
            executor = self.executor
            self.summary.incumbents.append(
                Incumbent(executor.now, executor.attempt_hours(), trial_id, float(value))
            )

    def _call_back(self, command: Notify) -> None:
        trial = self.coordinator.get_trial(command.trial_id)
        trials = self.coordinator.get_trials()
        told: dict[str, Any] = {"iteration": 0, "trials": trials, "trial": trial}
        if command.notice is Notice.CHECKPOINT:
            return
        if command.result is not None:
            told["result"] = dict(command.result)
        self._callbacks.call(f"on_{command.notice}", **told)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Seed the global random generators, from which many schedulers draw; restore them at the end.

    Args:
        seed: The seed; None leaves them alone.
    """
    if seed is None:
        yield
        return
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Restrict Python's cyclic garbage collector to new objects, since old ones are millions."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
