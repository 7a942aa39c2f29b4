"""`PlainSweep`: a fast path for simulated sweeps whose trials only start, report and end.

A coordinator handles events and answers with commands, in hundreds of calls for each trial.
`PlainSweep` makes the same calls of the same scheduler, searcher, stopper and model, in the same
order, with one small object for each running trial. At anything else (a trial that fails or saves
a checkpoint, a result with values that are no numbers) it gives up, and the sweep starts anew with
a coordinator and an executor, which takes four times as long. So both paths have the same results.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefect_tune.coordinator.events import Node, TrialSuggested
from prefect_tune.coordinator.lifecycle import new_trial
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.placement import Placer
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import ALL_AUTO_FILLED, RUNNING, TERMINATED, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.resources import MILLI, Resources
from prefect_tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from prefect_tune.search.basic_variant import VariantSource
from prefect_tune.search.source import Suggestion
from prefect_tune.simulation.attempt import Program, Step, constants_of
from prefect_tune.simulation.summary import Incumbent, SimulationSummary
from prefect_tune.stopper import NoopStopper, Stopper
from prefect_tune.stopper.factory import DictStopper

#: These neither pause trials nor ask the controller for anything, and what a trial reports before
#: its `run_until` leaves nothing behind in them.
_SCHEDULERS = (FIFOScheduler, AsyncHyperBandScheduler)
_STOPPERS = (NoopStopper, DictStopper)
_LARGEST = 2**63
#: Shown in results.
EXPERIMENT_ID = "simulated"

_NO_STEPS: Iterator[Any] = iter(())


class _Unforeseen(Exception):
    """Error for an event that only a coordinator can handle."""


@dataclass(slots=True, eq=False)
class _Run:
    """Running trial.

    Attributes:
        next: The method to call next.
        launched: Time of the launch.
        steps: The rest of its program.
        rows: The finished steps: number, metrics, seconds of all steps so far, seconds of this one.
        reported: Number of steps that it has reported.
        until: The results at which it waits for a decision.
        limit: The iteration of `until`, infinite without one.
    """

    trial: Trial
    slot: Slot
    launched: float
    next: Callable[[_Run], None]
    steps: Iterator[Any] = _NO_STEPS
    rows: list[tuple[float, ...]] = field(default_factory=list)
    reported: int = 0
    until: RunUntil = NEVER
    limit: float = math.inf


@dataclass(eq=False)
class PlainSweep:
    """Runs one sweep of trials that start, report and end.

    Args:
        setup: The sweep; its scheduler and stopper are copied.
        resources: Resources of each trial.
        program: The steps of every trial.
        options: The options of the coordinator.
        controller: First argument of the scheduler's hooks.
        nodes: The nodes of the cluster.
        start_s: Seconds between a launch and the first work of the trial.
        keeps_results: Keep all results of each trial, in `histories`.
        batch: Maximum of results of a trial that are reported together.

    Attributes:
        trials: All trials.
        summary: Time and cost so far.
        histories: All results of each trial by its id.
        now: The simulated time.
        hours: Hours that ended trials have run.
        hours_used: Hours for which they have held each resource, by name.
    """

    setup: ExperimentSetup
    resources: Resources
    program: Program
    options: CoordinatorOptions
    controller: ControllerView
    nodes: Sequence[Node]
    start_s: float
    keeps_results: bool
    batch: int

    def __post_init__(self) -> None:
        setup = self.setup
        self.trials: list[Trial] = []
        self.summary = SimulationSummary()
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.now = self.hours = 0.0
        self.hours_used: dict[str, float] = defaultdict(float)
        self._source = setup.source
        self._scheduler = copy.deepcopy(setup.scheduler)
        self._stopper: Stopper | None = (
            None if type(setup.stopper) is NoopStopper else setup.stopper
        )
        self._placer = Placer()
        self._placer.update(self.nodes, ())
        self._running: dict[str, _Run] = {}
        self._waiting: Trial | None = None
        #: What comes later: time, order and trial; and what comes now, behind what came before.
        self._later: list[tuple[float, int, _Run]] = []
        self._due: deque[_Run] = deque()
        self._count = 0
        #: The metrics of each result, the columns of `_Run.rows`, a result without values, and
        #: the column of the experiment's metric.
        self._names: tuple[str, ...] | None = None
        self._columns: tuple[str, ...] = ()
        self._blank: dict[str, Any] = {}
        self._place: int | None = None
        self._has_numpy = False
        metric, mode = setup.objectives
        self._metric = metric if isinstance(metric, str) and mode in ("min", "max") else None
        self._sign = 1.0 if mode == "max" else -1.0
        self._best = -math.inf

    @staticmethod
    def can_run(setup: ExperimentSetup, options: CoordinatorOptions) -> bool:
        """Return True if a sweep may be a plain one, as far as its arguments tell.

        Args:
            setup: The sweep.
            options: The options of the coordinator.
        """
        return (
            type(setup.scheduler) in _SCHEDULERS
            and type(setup.stopper) in _STOPPERS
            and type(setup.source) is VariantSource
            and setup.resources is not None
            and options.max_running is None
            and options.trial_time_limit_s is None
            and options.restore_from is None
            and not options.saves_at_end
        )

    # -- time -------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Run to the end; return False at the first event that only a coordinator can handle.

        Then the search is set back to its state before, and this object is of no use.
        """
        later, due = self._later, self._due
        before = self._source.save_state()
        try:
            self._waiting = self._suggest()
            while self._waiting is not None:
                slot = self._placer.reserve(self.resources)
                if slot is None:
                    break
                self._launch(self._waiting, slot)
                self._waiting = self._suggest()
            while later or due:
                if later and (not due or later[0][0] <= self.now):
                    self.now, _, run = heapq.heappop(later)
                else:
                    run = due.popleft()
                run.next(run)
        except _Unforeseen:
            self._source.restore_state(before)
            return False
        return True

    # -- trials -----------------------------------------------------------------------------------

    def _suggest(self) -> Trial | None:
        """Return the next trial, None if there is none."""
        found = self._source.next()
        if not isinstance(found, Suggestion):
            return None
        trial = new_trial(suggestion_event(found, self.resources, self.now), self.options)
        self.trials.append(trial)
        self._scheduler.on_trial_add(self.controller, trial)
        return trial

    def _launch(self, trial: Trial, slot: Slot) -> None:
        trial.attempt = 1
        trial.status = RUNNING
        trial.start_time = self.now
        run = self._running[trial.trial_id] = _Run(trial, slot, self.now, self._begin)
        self._set_limit(run)
        self.summary.num_attempts += 1
        self._schedule(run, self.now + self.start_s)

    def _schedule(self, run: _Run, time: float) -> None:
        """Schedule the next method of a trial at a time."""
        if time > self.now:
            self._count += 1
            heapq.heappush(self._later, (time, self._count, run))
        else:
            self._due.append(run)

    def _set_limit(self, run: _Run) -> None:
        until = self._scheduler.run_until(run.trial)
        if self._stopper is not None:
            until |= self._stopper.run_until(run.trial.trial_id)
        if until is not run.until:
            run.until, thresholds = until, until.thresholds
            # Others are looked for in the result.
            only = len(thresholds) == 1 and thresholds[0][0] == "training_iteration"
            run.limit = thresholds[0][1] if only else -1.0 if thresholds else math.inf

    def _begin(self, run: _Run) -> None:
        run.trial.location = f"{run.slot.node}:0"
        run.steps = iter(self.program(run.trial.config))
        self._go_on(run)

    def _go_on(self, run: _Run) -> None:
        if not self._work(run):
            self._end_attempt(run)
            self._finish(run)
            self._reuse_slot(run)

    def _stop(self, run: _Run) -> None:
        self._end_attempt(run)
        self._reuse_slot(run)

    def _work(self, run: _Run) -> bool:
        """Run a trial's next steps, up to the first at which it waits; return False at its end.

        Raises:
            _Unforeseen: If only a coordinator can handle a step.
        """
        rows, steps, limit, names = run.rows, run.steps, run.limit, self._names
        begin = count = len(rows)
        most = begin + self.batch
        now = self.now
        total = rows[-1][-2] if count else 0.0
        waits = False
        while count < most and not waits:
            try:
                item = next(steps)
            except StopIteration:
                break
            except Exception as error:  # the simulated trial's own
                raise _Unforeseen from error
            if type(item) is dict:
                metrics, took = item, 1.0
            elif type(item) is Step and not item.checkpoint and type(item.metrics) is dict:
                metrics, took = item.metrics, item.seconds * 1.0
            else:
                raise _Unforeseen
            if tuple(metrics) != names:
                names = self._learn_names(metrics)
            for value in metrics.values():
                if type(value) is not float and not self._is_number(value):
                    raise _Unforeseen
            if not took >= 0:
                raise _Unforeseen
            count += 1
            now += took
            total += took
            rows.append((count, *metrics.values(), total, took))
            if not count < limit:
                waits = limit >= 0 or self._waits_at(run, self._result(run, count, now))
        if count == begin:
            return False
        run.next = self._decide if waits else self._report
        self._schedule(run, now)
        return True

    def _learn_names(self, metrics: dict[str, Any]) -> tuple[str, ...]:
        """Note the names of the metrics at the first result; all others must have the same."""
        names = tuple(metrics)
        wanted = {*self.options.metrics, *((self._metric,) if self._metric else ())}
        if self._blank or ALL_AUTO_FILLED.intersection(names) or not wanted <= {*names}:
            raise _Unforeseen
        self._names = names
        self._blank = {
            "done": False,
            "training_iteration": 0,
            "time_this_iter_s": 0.0,
            "timestamp": 0,
            **metrics,
            "time_total_s": 0.0,
            "time_since_restore": 0.0,
            "iterations_since_restore": 0,
            **constants_of("", EXPERIMENT_ID, "", {}, ""),
        }
        self._columns = ("training_iteration", *names, "time_total_s")
        self._place = names.index(self._metric) + 1 if self._metric else None
        return names

    def _is_number(self, value: Any) -> bool:
        if type(value) is int:
            return -_LARGEST < value < _LARGEST
        self._has_numpy = self._has_numpy or type(value) is np.float64
        return type(value) is np.float64

    def _waits_at(self, run: _Run, result: dict[str, Any]) -> bool:
        if any(name not in result for name, _ in run.until.thresholds):
            raise _Unforeseen
        return run.until.reached(result)

    def _result(self, run: _Run, count: int, now: float) -> dict[str, Any]:
        """Return a result of a trial, as `SimulatedAttempt.work` makes it.

        Args:
            run: The trial.
            count: Number of the result, from 1.
            now: Time of the report.
        """
        trial = run.trial
        row = run.rows[count - 1]
        result = self._blank.copy()
        result["time_this_iter_s"] = row[-1]
        result["timestamp"] = int(now)
        for name, value in zip(self._columns, row, strict=False):
            result[name] = value
        result["time_since_restore"] = row[-2]
        result["iterations_since_restore"] = count
        result["trial_id"] = trial.trial_id
        result["experiment_tag"] = trial.experiment_tag
        result["config"] = trial.config
        result["hostname"] = result["node_ip"] = run.slot.node
        return result

    def _report(self, run: _Run) -> None:
        """Report the steps of a trial that needs no decision, and continue or end the trial."""
        first, last = run.reported, len(run.rows)
        goes_on = self._work(run)
        if not goes_on:
            self._end_attempt(run)
        self._count_results(run, first, last)
        if self.keeps_results:
            self._keep_result(run, self._result(run, last, self.now))
        if not goes_on:
            self._finish(run)
            self._reuse_slot(run)

    def _decide(self, run: _Run) -> None:
        """Report the steps of a trial, and let stopper and scheduler decide about it."""
        count, trial = len(run.rows), run.trial
        self._count_results(run, run.reported, count)
        result = self._result(run, count, self.now)
        stops = self._stopper is not None and self._stopper(trial.trial_id, result)
        if not stops:
            answer = self._scheduler.on_trial_result(self.controller, trial, result)
            stops = answer == self._scheduler.STOP
        if self.keeps_results:
            self._keep_result(run, result)
        if stops:
            run.next = self._stop
            self._complete(run, result)
        else:
            run.next = self._go_on
            self._set_limit(run)
        self._due.append(run)

    def _count_results(self, run: _Run, first: int, last: int) -> None:
        """Count results from `first` on, and note those that are the best so far."""
        run.reported = last
        self.summary.num_results += last - first
        place, sign = self._place, self._sign
        if place is None:
            return
        for row in run.rows[first:last]:
            if sign * row[place] > self._best:
                self._best = sign * row[place]
                now = self.now
                running = sum(now - other.launched for other in self._running.values())
                hours = self.hours + running / 3600
                best = Incumbent(now, hours, run.trial.trial_id, float(row[place]))
                self.summary.incumbents.append(best)

    def _keep_result(self, run: _Run, result: dict[str, Any]) -> None:
        self.histories.setdefault(run.trial.trial_id, []).append(result)

    def _end_attempt(self, run: _Run) -> None:
        """End a trial's attempt."""
        hours = (self.now - run.launched) / 3600
        self.hours += hours
        for name, milli in self.resources.milli:
            self.hours_used[name] += hours * milli / MILLI
        del self._running[run.trial.trial_id]
        close = getattr(run.steps, "close", None)
        if close is not None:
            close()

    def _finish(self, run: _Run) -> None:
        """Complete a trial whose program has ended."""
        count = run.reported
        self._complete(run, self._result(run, count, self.now) if count else {})

    def _complete(self, run: _Run, result: dict[str, Any]) -> None:
        """Make a result the last one of a trial."""
        trial = run.trial
        result["done"] = True
        if run.rows:
            rows: list[tuple[Any, ...]] = run.rows
            if self._has_numpy:
                rows = [tuple(map(number_of, row)) for row in rows]
            trial.record_all(result, self.now, self._columns, rows)
        else:
            trial.last_result = result
            trial.compact()
        self._scheduler.on_trial_complete(self.controller, trial, result)

    def _reuse_slot(self, run: _Run) -> None:
        """Give the slot of an ended trial to the trial that waits for it."""
        run.trial.status = TERMINATED
        if self._waiting is None:
            return
        # Nothing else was free: so the slot is the one that the next trial gets, unless another
        # GPU of the node comes before its own.
        slot: Slot | None = run.slot
        if run.slot.devices or run.slot.others:
            self._placer.release(run.slot)
            slot = self._placer.reserve(self.resources)
        if slot is not None:
            self._launch(self._waiting, slot)
            self._waiting = self._suggest()


def suggestion_event(found: Suggestion, resources: Resources, now: float) -> TrialSuggested:
    """Return the event of a suggestion.

    Args:
        found: The suggestion.
        resources: Resources of the trial.
        now: The time.
    """
    config = found.config
    resolved = config if found.resolved == config else found.resolved
    trial_id = found.trial_id
    return TrialSuggested(
        now, trial_id, config, resolved, found.experiment_tag, resources, trial_id
    )
