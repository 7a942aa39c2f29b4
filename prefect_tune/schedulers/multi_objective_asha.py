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
_PLACES = 2 * _MOST_COMPARED


class Rung:
    """The newest results at a rung, sorted into fronts of non-dominated results.

    A result is in the front after the last front with a result that beats it. So a new result moves
    only some of the results that it beats, and likewise the oldest result when it is removed.

    A result has the place of its number, counted around twice as many places as there are results:
    so no two that were ever compared have the same one. Sets of results are integers with a bit for
    each place.

    Attributes:
        came: The number of results so far; results are identified by their numbers in order.
    """

    def __init__(self) -> None:
        self.came = 0
        self._kept = 0
        # By metric and place; a free place has NaN, which neither beats anything nor is beaten.
        self._costs = np.empty((0, 0))
        self._fronts: list[int] = []
        # By place, by which others each is beaten; some of these are not kept any more.
        self._beaten_by = [0] * _PLACES
        #: The front of the newest result.
        self._newest = 0

    def __len__(self) -> int:
        return self._kept

    def add(self, cost: Sequence[float]) -> None:
        """Add a result, and remove the oldest one if there are too many."""
        if not self._kept:
            self._costs = np.full((len(cost), _PLACES), math.nan)
        elif self._kept == _MOST_COMPARED:
            self._remove((self.came - _MOST_COMPARED) % _PLACES)
        place = self.came % _PLACES
        self.came += 1
        self._kept += 1
        own = np.array(cost)[:, None]
        no_better = np.logical_and.reduce(self._costs >= own)
        no_worse = np.logical_and.reduce(self._costs <= own)
        self._costs[:, place] = cost
        beaten = no_better > no_worse
        bit = 1 << place
        for other in beaten.nonzero()[0].tolist():
            self._beaten_by[other] |= bit
        beaten_by = self._beaten_by[place] = _as_bits(no_worse > no_better)
        fronts = self._fronts
        level = len(fronts)
        while level and not fronts[level - 1] & beaten_by:
            level -= 1
        self._newest = level
        if level == len(fronts):
            fronts.append(0)
        moved = fronts[level] & _as_bits(beaten)
        fronts[level] |= bit
        while moved:
            fronts[level] ^= moved
            level += 1
            if level == len(fronts):
                fronts.append(0)
            behind = fronts[level]
            fronts[level] |= moved
            moved = self._beaten(behind, moved)

    def is_among_first(self, most: float) -> bool:
        """Return whether fewer than `most` results come before the newest one.

        Fronts are ordered. Within a front, the oldest result is the first, and each next one is the
        result farthest from all before.
        """
        room = most - sum(front.bit_count() for front in self._fronts[: self._newest])
        front = self._fronts[self._newest]
        if not 0 < room < front.bit_count():
            return room > 0
        places = sorted(_places(front), key=lambda place: (place - self.came) % _PLACES)
        return _net_has_last_row(self._costs[:, places].T, math.ceil(room))

    def __getstate__(self) -> tuple[int, list[list[float]]]:
        places = [number % _PLACES for number in range(self.came - self._kept, self.came)]
        return self.came, self._costs[:, places].T.tolist()

    def __setstate__(self, state: tuple[int, list[list[float]]]) -> None:
        Rung.__init__(self)
        came, costs = state
        self.came = came - len(costs)
        for cost in costs:
            self.add(cost)

    def _remove(self, place: int) -> None:
        """Remove a result; results that only it has beaten in a front move to that front."""
        self._kept -= 1
        self._costs[:, place] = math.nan
        fronts, bit = self._fronts, 1 << place
        level = next(level for level, front in enumerate(fronts) if front & bit)
        fronts[level] ^= bit
        while level + 1 < len(fronts):
            stay = self._beaten(fronts[level + 1], fronts[level])
            moved = fronts[level + 1] ^ stay
            if not moved:
                return
            fronts[level] |= moved
            level += 1
            fronts[level] = stay
        if not fronts[-1]:
            fronts.pop()

    def _beaten(self, results: int, by: int) -> int:
        """Return those of the results that one of others has beaten."""
        beaten, beaten_by = 0, self._beaten_by
        while results:
            lowest = results & -results
            if beaten_by[lowest.bit_length() - 1] & by:
                beaten |= lowest
            results ^= lowest
        return beaten


def _as_bits(places: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(places, bitorder="little").tobytes(), "little")


def _places(bits: int) -> list[int]:
    """Return the places of a set."""
    places = []
    while bits:
        lowest = bits & -bits
        places.append(lowest.bit_length() - 1)
        bits ^= lowest
    return places


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
