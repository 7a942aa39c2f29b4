"""`MedianStoppingRule`: stop trials that are worse than the median of the others.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.1, in
the variant of Ray Tune 2.0. NaN and infinite values of the metric are left out, as in later ones.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler
from prefect_tune.validation import check_count, check_number

#: How many of the newest values of each trial are in arrays.
_NEWEST = 16
#: How many times are remembered that were asked for once.
_ASKED = 256
#: If a trial passes more of the times with kept means, trials have few times in common.
_MOST_PASSED = 8


class _History:
    """The results of one trial.

    Attributes:
        last_time: Time of the newest result.
        last_value: Metric of the newest result, negated for ``min`` so that more is better.
        best: The best finite value so far, -inf before the first.
        row: The number of the trial in order of its first result.
    """

    __slots__ = ("_means", "_times", "_values", "best", "last_time", "last_value", "row")

    def __init__(self, row: int) -> None:
        self.row = row
        self.last_time = -math.inf
        self.last_value = math.nan
        self.best = -math.inf
        # The finite values from the grace period on, by time, and the mean of all up to each.
        self._times = array("d")
        self._values = array("d")
        self._means = array("d")

    def add(self, time: float, value: float, grace_period: float) -> None:
        """Take in a result."""
        self.last_time = time
        self.last_value = value
        if not math.isfinite(value):
            return
        self.best = max(self.best, value)
        if time < grace_period:
            return
        place = bisect_right(self._times, time)
        self._times.insert(place, time)
        self._values.insert(place, value)
        # All but always the last place: only a trial that was set back reports an earlier time.
        del self._means[place:]
        mean = self._means[-1] if place else 0.0
        for index in range(place, len(self._values)):
            mean += (self._values[index] - mean) / (index + 1)
            self._means.append(mean)

    def mean_until(self, time: float) -> float:
        """Return the mean of values from the grace period up to a time, NaN without values."""
        count = bisect_right(self._times, time)
        return self._means[count - 1] if count else math.nan

    def newest(self) -> tuple[list[float], list[float]]:
        """Return the times of the newest values, newest first, and the means up to them."""
        return self._times[: -_NEWEST - 1 : -1].tolist(), self._means[: -_NEWEST - 1 : -1].tolist()


class _RunningMeans:
    """The histories of all trials, from which it computes medians of means up to a time.

    The means up to a time that was asked for are kept, and those of trials that come there later
    added, once the same time was asked for again: with iterations as time, all but the first two
    times. Otherwise most trials are at one of their newest values, which are in arrays.
    """

    def __init__(self, grace_period: float) -> None:
        self._grace_period = grace_period
        self.histories: dict[str, _History] = {}
        # By trial: time of the newest result; times and means of the newest values, newest first.
        self._last = np.empty(0)
        self._times = np.empty((_NEWEST, 0))
        self._means = np.empty((_NEWEST, 0))
        self._asked: dict[float, None] = {}
        self._kept: dict[float, array[float]] = {}
        self._kept_times: list[float] = []

    def add(self, trial_id: str, time: float, value: float) -> _History:
        """Take in a result."""
        history = self.histories.get(trial_id)
        if history is None:
            history = self.histories[trial_id] = _History(len(self.histories))
            if history.row == len(self._last):
                more = history.row + 16
                self._last = np.pad(self._last, (0, more))
                self._times = np.pad(self._times, ((0, 0), (0, more)), constant_values=-math.inf)
                self._means = np.pad(self._means, ((0, 0), (0, more)), constant_values=math.nan)
        begin = bisect_right(self._kept_times, history.last_time)
        passed = self._kept_times[begin : bisect_right(self._kept_times, time)]
        if not time > history.last_time or len(passed) > _MOST_PASSED:
            # The trial was set back, and has other means now; or see above.
            self._kept.clear()
            self._kept_times.clear()
            passed = []
        history.add(time, value, self._grace_period)
        self._last[history.row] = time
        times, means = history.newest()
        self._times[: len(times), history.row] = times
        self._means[: len(means), history.row] = means
        for earlier in passed:
            mean = history.mean_until(earlier)
            if not math.isnan(mean):
                insort(self._kept[earlier], mean)
        return history

    def median(self, time: float, own: _History) -> tuple[int, float]:
        """Return the number of other trials with means up to a time, and the means' median."""
        means = self._kept.get(time)
        if means is None:
            found = self._means_until(time, own.row)
            if time not in self._asked:
                self._asked[time] = None
                if len(self._asked) > _ASKED:
                    del self._asked[next(iter(self._asked))]
                return len(found), _median(found)
            found = np.append(found, own.mean_until(time))
            found = np.sort(found[~np.isnan(found)])
            means = self._kept[time] = array("d", found.tobytes())
            insort(self._kept_times, time)
        own_mean = own.mean_until(time)
        own_place = len(means) if math.isnan(own_mean) else bisect_left(means, own_mean)
        count = len(means) - (own_place < len(means))
        if not count:
            return 0, math.nan
        low, high = (count - 1) // 2, count // 2
        low, high = low + (low >= own_place), high + (high >= own_place)
        return count, means[low] if low == high else (means[low] + means[high]) / 2

    def _means_until(self, time: float, without: int) -> NDArray[np.float64]:
        """Return the means up to a time of all trials that have come there, but for one."""
        count = len(self.histories)
        came = self._last[:count] >= time
        came[without] = False
        later = (self._times[:, :count] > time).sum(axis=0, dtype=np.int8)
        means: NDArray[np.float64] = self._means[np.minimum(later, _NEWEST - 1), np.arange(count)]
        far = np.flatnonzero(came & (later == _NEWEST))
        if len(far):
            histories = list(self.histories.values())
            for row in far.tolist():
                means[row] = histories[row].mean_until(time)
        return means[came & ~np.isnan(means)]


def _median(values: NDArray[np.float64]) -> float:
    if not len(values):
        return math.nan
    low, high = (len(values) - 1) // 2, len(values) // 2
    parted = np.partition(values, (low, high))
    return float(parted[low] if low == high else (parted[low] + parted[high]) / 2)


class MedianStoppingRule(ObjectiveScheduler):
    """Stops trials whose best result is worse than the median of the others' running means.

    A result at time ``t`` from the grace period on is judged against all trials, running or
    finished, whose newest result is at or after ``t`` and that have a finite value in
    ``[grace_period, t]``: the trial stops if its best value so far is strictly worse than the
    median of their means over that time.

    What differs from Ray Tune: values that are not finite are left out one by one, where Ray leaves
    out the whole trial, so that one overflow does not shield a trial for ever; a last result counts
    once, where Ray counts it twice if the trial is stopped; and means are rounded so that equal
    trials do not stop each other.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        grace_period: Time before which nothing is judged, in units of `time_attr`.
        min_samples_required: With how many other trials it must be possible to compare.
        min_time_slice: A trial that cannot be judged yet yields its slot to waiting ones once it
            has run so long since it last did, in units of `time_attr`.
        hard_stop: Stop bad trials; False pauses them, to run on when nothing else is left.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_number("grace_period", grace_period, at_least=0)
        check_count("min_samples_required", min_samples_required, at_least=0)
        check_number("min_time_slice", min_time_slice, at_least=0)
        self._grace_period = grace_period
        self._min_samples_required = min_samples_required
        self._min_time_slice = min_time_slice
        self._hard_stop = hard_stop
        self._means = _RunningMeans(grace_period)
        self._stopped: set[str] = set()
        self._last_pause: dict[str, float] = {}

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Stop or pause a trial after the grace period if it is worse than the median.

        Raises:
            InvalidArgument: If the time or the metric is not a number.
        """
        if trial.trial_id in self._stopped or not self._is_complete(result):
            self._tell_without_time(trial, result)
            return self.CONTINUE
        own = self._record(trial, result)
        time = own.last_time
        # Written so that a NaN time is not judged either.
        if not time >= self._grace_period:
            return self.CONTINUE
        count, median = self._means.median(time, own)
        if count < self._min_samples_required:
            return self._yield_slot(controller, trial, time)
        if not count or own.best == -math.inf or own.best >= median:
            return self.CONTINUE
        self._stopped.add(trial.trial_id)
        return self.STOP if self._hard_stop else self.PAUSE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Record the last result, if `on_trial_result` was not called for it."""
        self._last_pause.pop(trial.trial_id, None)
        if not result or not self._is_complete(result):
            return
        known = self._means.histories.get(trial.trial_id)
        last = (
            self._number(result, self._time_attr, "time_attr"),
            self._metric_op * self._number(result, str(self._metric), "metric"),
        )
        if known is None or last != (known.last_time, known.last_value):
            self._record(trial, result)

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the end of the grace period, from which on the trial waits at each result."""
        if trial.trial_id in self._stopped:
            return NEVER
        return RunUntil(((self._time_attr, self._grace_period),))

    def debug_string(self) -> str:
        """Return the number of stopped trials."""
        return f"Using MedianStoppingRule: num_stopped={len(self._stopped)}."

    def _is_complete(self, result: dict[str, Any]) -> bool:
        names = (self._time_attr, str(self._metric))
        return all(result.get(name) is not None for name in names)

    def _record(self, trial: Trial, result: dict[str, Any]) -> _History:
        time = self._number(result, self._time_attr, "time_attr")
        value = self._metric_op * self._number(result, str(self._metric), "metric")
        return self._means.add(trial.trial_id, time, value)

    def _yield_slot(self, controller: ControllerView, trial: Trial, time: float) -> str:
        """Pause a trial whose time slice is used up if other trials wait."""
        since = time - self._last_pause.get(trial.trial_id, -math.inf)
        if since > self._min_time_slice and any(controller.get_waiting_trials()):
            self._last_pause[trial.trial_id] = time
            return self.PAUSE
        return self.CONTINUE
