"""`MultiObjectiveASHAScheduler`: ASHA for several metrics.

Schmucker et al., "Multi-objective Asynchronous Successive Halving" (2021): at each rung the results
are put into an order by non-dominated sorting, and within a front by an ε-net, which takes the
point first that lies farthest from those taken before; the best share goes on, as in ASHA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler, check_rungs
from prefect_tune.validation import check_metric_name, check_mode

Array = NDArray[np.float64]
#: Number of the newest results of a rung that a new one is compared with.
_MOST_COMPARED = 200


class Rung:
    """The newest results at a rung, sorted into fronts of non-dominated results.

    A result is in the front after the last front with a result that beats it. So a new result moves
    only some of the results that it beats, and likewise the oldest result when it is removed.

    Attributes:
        came: The number of results so far; results are identified by their numbers in order.
    """

    def __init__(self) -> None:
        self.came = 0
        # A result is in the column of its number modulo the number of columns. Other columns are
        # NaN, which neither beats anything nor is beaten.
        self._costs = np.empty((0, 0))
        self._numbers = np.zeros(_MOST_COMPARED, dtype=int)
        self._fronts: list[set[int]] = []
        self._front: dict[int, int] = {}
        # By which others each is beaten; some of these are not kept any more.
        self._beaten_by: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._front)

    def add(self, cost: Sequence[float]) -> None:
        """Add a result, and remove the oldest one if there are too many."""
        number = self.came
        self.came += 1
        if not len(self):
            self._costs = np.full((len(cost), _MOST_COMPARED), math.nan)
        elif len(self) == _MOST_COMPARED:
            self._remove(number - _MOST_COMPARED)
        self._costs[:, number % _MOST_COMPARED] = cost
        self._numbers[number % _MOST_COMPARED] = number
        own = np.array(cost)[:, None]
        no_better = np.logical_and.reduce(self._costs >= own)
        no_worse = np.logical_and.reduce(self._costs <= own)
        beaten = set(self._numbers[no_better > no_worse].tolist())
        self._beaten_by[number] = set(self._numbers[no_worse > no_better].tolist())
        for other in beaten:
            self._beaten_by[other].add(number)
        level = 1 + max(map(self._front.__getitem__, self._beaten_by[number]), default=-1)
        self._add_to_front({number}, level)
        moved = self._fronts[level] & beaten
        while moved:
            self._fronts[level] -= moved
            level += 1
            self._add_to_front(moved, level)
            behind = self._fronts[level] - moved
            moved = {n for n in behind if not moved.isdisjoint(self._beaten_by[n])}

    def is_among_first(self, most: float) -> bool:
        """Return whether fewer than `most` results come before the newest one.

        Fronts are ordered. Within a front, the oldest result is the first, and each next one is the
        result farthest from all before.
        """
        level = self._front[self.came - 1]
        room = most - sum(map(len, self._fronts[:level]))
        front = sorted(self._fronts[level])
        if not 0 < room < len(front):
            return room > 0
        columns = [number % _MOST_COMPARED for number in front]
        return _net_has_last_row(self._costs[:, columns].T, math.ceil(room))

    def __getstate__(self) -> tuple[int, list[list[float]]]:
        columns = [number % _MOST_COMPARED for number in sorted(self._front)]
        return self.came, self._costs[:, columns].T.tolist()

    def __setstate__(self, state: tuple[int, list[list[float]]]) -> None:
        Rung.__init__(self)
        came, costs = state
        self.came = came - len(costs)
        for cost in costs:
            self.add(cost)

    def _add_to_front(self, numbers: set[int], level: int) -> None:
        """Add results to a front."""
        if level == len(self._fronts):
            self._fronts.append(set())
        self._fronts[level] |= numbers
        self._front.update(dict.fromkeys(numbers, level))

    def _remove(self, number: int) -> None:
        """Remove a result; results that only it has beaten in a front move to that front."""
        del self._beaten_by[number]
        first = self._front.pop(number)
        self._fronts[first].remove(number)
        for level in range(first, len(self._fronts) - 1):
            before, behind = self._fronts[level : level + 2]
            moved = {n for n in behind if before.isdisjoint(self._beaten_by[n])}
            if not moved:
                return
            behind -= moved
            self._add_to_front(moved, level)
        if not self._fronts[-1]:
            self._fronts.pop()


def _net_has_last_row(front: Array, most: int) -> bool:
    """Return whether the last row is one of the first `most` rows of an ε-net.

    The net begins with the first row; each next row is the one farthest from all before.
    """
    finite = np.where(np.isfinite(front), front, np.nan)
    spread = np.nan_to_num(np.nanmax(finite, axis=0) - np.nanmin(finite, axis=0))
    scaled = np.nan_to_num(finite / np.where(spread > 0, spread, 1.0))
    distance = np.full(len(front), math.inf)
    taken = 0
    for _ in range(most):
        if taken == len(front) - 1:
            return True
        distance = np.minimum(distance, ((scaled - scaled[taken]) ** 2).sum(axis=1))
        distance[taken] = -1.0
        taken = int(np.argmax(distance))
    return False


class MultiObjectiveASHAScheduler(ObjectiveScheduler):
    """Stops trials early that are not among the best by several metrics (MO-ASHA).

    A result is compared with the newest 200 at its rung.

    Args:
        metric: The result keys to compare by, two or more.
        mode: ``max`` or ``min`` for all of them, or one for each.
        time_attr: The result key that counts as time.
        max_t: Time at which a trial ends, in units of `time_attr`.
        grace_period: Time of the first rung, before which no trial is stopped.
        reduction_factor: About one trial in so many goes on from a rung.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        metric: Sequence[str],
        mode: str | Sequence[str] = "min",
        time_attr: str = "training_iteration",
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
    ) -> None:
        super().__init__(time_attr, None, None)
        if isinstance(metric, str) or len(metric) < 2:
            raise InvalidArgument(
                "metric", f"got {metric!r}.", "Give two or more; ASHAScheduler compares by one."
            )
        modes = [mode] * len(metric) if isinstance(mode, str) else list(mode)
        if len(modes) != len(metric):
            raise InvalidArgument(
                "mode", f"got {mode!r} for {len(metric)} metrics.", "Give one for each, or one."
            )
        for name, one in zip(metric, modes, strict=True):
            check_metric_name("metric", name)
            check_mode(one)
        check_rungs(max_t, grace_period, reduction_factor)
        self._metrics = list(metric)
        self._signs = [1.0 if one == "min" else -1.0 for one in modes]
        self._max_t = max_t
        self._factor = reduction_factor
        depth = int(math.log(max_t / grace_period) / math.log(reduction_factor) + 1e-9)
        self._milestones = [grace_period * reduction_factor**k for k in range(depth + 1)]
        self._rungs = [Rung() for _ in self._milestones]
        self._level: dict[str, int] = {}
        self._num_stopped = 0

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Check that the experiment's metric, by which its best trial is chosen, is one of these.

        Raises:
            InvalidArgument: If it is not, or has another mode here.
        """
        modes = ["min" if sign > 0 else "max" for sign in self._signs]
        own = dict(zip(self._metrics, modes, strict=True))
        if metric is not None and own.get(metric) != mode:
            raise InvalidArgument(
                "metric",
                f"{metric!r} ({mode}) is none of the scheduler's metrics: "
                f"{', '.join(f'{name!r} ({mode})' for name, mode in own.items())}.",
                "Give the experiment one of them, by which its best trial is chosen, or none.",
            )
        return True

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Put a new trial below the first rung; a retried trial keeps its rung."""
        self._level.setdefault(trial.trial_id, 0)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Stop a trial at `max_t`, or if its result is not among the best of a rung.

        Raises:
            InvalidArgument: If the time or a metric is not a number.
        """
        level = self._level.get(trial.trial_id)
        names = (self._time_attr, *self._metrics)
        if level is None or any(result.get(name) is None for name in names):
            self._tell_without_time(trial, result)
            return self.CONTINUE
        time = self._number(result, self._time_attr, "time_attr")
        if time >= self._max_t:
            return self.STOP
        while level < len(self._milestones) and time >= self._milestones[level]:
            level += 1
        if level == self._level[trial.trial_id]:
            return self.CONTINUE
        self._level[trial.trial_id] = level
        cost = [
            sign * self._number(result, name, "metric")
            for sign, name in zip(self._signs, self._metrics, strict=True)
        ]
        rung = self._rungs[level - 1]
        rung.add([math.inf if math.isnan(value) else value for value in cost])
        # The first trial at a rung always continues.
        if len(rung) == 1 or rung.is_among_first(len(rung) / self._factor):
            return self.CONTINUE
        self._num_stopped += 1
        return self.STOP

    @property
    def stops_at(self) -> float:
        """The time at which the scheduler ends each trial, `max_t`."""
        return self._max_t

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Remove the trial; its results at rungs stay recorded."""
        self._level.pop(trial.trial_id, None)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial."""
        self._level.pop(trial.trial_id, None)

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the trial's next rung, or `max_t`."""
        level = self._level.get(trial.trial_id, 0)
        rungs = self._milestones
        milestone = min(rungs[level], self._max_t) if level < len(rungs) else self._max_t
        return RunUntil(((self._time_attr, milestone),))

    def debug_string(self) -> str:
        """Return the number of stopped trials, and of trials that have reached each rung."""
        rungs = (
            f"{milestone:g}: {rung.came}"
            for milestone, rung in zip(self._milestones, self._rungs, strict=True)
        )
        return f"Using {type(self).__name__}: num_stopped={self._num_stopped}\n" + " | ".join(rungs)
