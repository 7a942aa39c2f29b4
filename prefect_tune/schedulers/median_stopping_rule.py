"""`MedianStoppingRule`: stop trials that are worse than the median of the others.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.1, in
the variant of Ray Tune 2.0. NaN and infinite values of the metric are left out, as in later ones.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler
from prefect_tune.validation import check_count, check_number

#: Into how many blocks the results of a trial are divided.
_BLOCKS = 8
#: How many times are remembered that were asked for once.
_ASKED = 256
#: If a trial passes more of the times with kept means, trials have few times in common.
_MOST_PASSED = 8


def _floats() -> array[float]:
    return array("d")


@dataclass(slots=True, eq=False)
class _History:
    """The results of one trial.

    Attributes:
        row: The number of the trial in order of its first result.
        last_time: Time of the newest result.
        last_value: Metric of the newest result, negated for ``min`` so that more is better.
        best: The best finite value so far, -inf before the first.
        times: Times of the finite values from the grace period on, ascending.
        means: The mean of all values up to each of these times.
        block: Number of results in a block of `_RunningMeans`.
    """

    row: int
    last_time: float = -math.inf
    last_value: float = math.nan
    best: float = -math.inf
    block: int = 1
    times: array[float] = field(default_factory=_floats)
    means: array[float] = field(default_factory=_floats)
    _values: array[float] = field(default_factory=_floats)

    def add(self, time: float, value: float, grace_period: float) -> int | None:
        """Add a result; return the index of the first new or changed mean, None without one."""
        self.last_time = time
        self.last_value = value
        if not math.isfinite(value):
            return None
        self.best = max(self.best, value)
        if time < grace_period:
            return None
        place = bisect_right(self.times, time)
        self.times.insert(place, time)
        self._values.insert(place, value)
        # All but always the last place: only a trial that was set back reports an earlier time.
        del self.means[place:]
        mean = self.means[-1] if place else 0.0
        for index, each in enumerate(self._values[place:], place + 1):
            mean += (each - mean) / index
            self.means.append(mean)
        return place

    def mean_until(self, time: float) -> float:
        """Return the mean of values from the grace period up to a time, NaN without values."""
        count = bisect_right(self.times, time)
        return self.means[count - 1] if count else math.nan


class _RunningMeans:
    """Histories of all trials, for the comparison of one with the means of the others.

    A trial's results are divided into a few blocks of equal length, which doubles when they are
    full. Arrays hold the first time, the least and the greatest mean of each block. So for any
    time a few array operations find nearly all trials whose mean until then is certainly above,
    or certainly not above, a value; only the remaining means are looked up.

    If a time is asked for again, as happens if iterations are the time, the means until then are
    kept sorted, and those of trials that reach it later are added.
    """

    def __init__(self, grace_period: float) -> None:
        self._grace_period = grace_period
        self.histories: dict[str, _History] = {}
        self._rows: list[_History] = []
        # By trial: time of the newest result, greatest mean; by block and trial: first time, least
        # mean, greatest mean.
        self._last = np.empty(0)
        self._begin = np.empty((_BLOCKS, 0))
        self._least = np.empty((_BLOCKS, 0))
        self._greatest = np.empty((_BLOCKS, 0))
        self._top = np.empty(0)
        self._before = np.empty(0, dtype=int)
        self._asked: dict[float, None] = {}
        self._kept: dict[float, array[float]] = {}
        self._kept_times: list[float] = []

    def add(self, trial_id: str, time: float, value: float) -> _History:
        """Add a result of a trial, and return the trial's history."""
        history = self.histories.get(trial_id)
        if history is None:
            history = self.histories[trial_id] = _History(len(self._rows))
            self._rows.append(history)
            if history.row == len(self._last):
                more = history.row + 16
                self._last = np.pad(self._last, (0, more))
                self._top = np.pad(self._top, (0, more), constant_values=-math.inf)
                wide = ((0, 0), (0, more))
                self._begin = np.pad(self._begin, wide, constant_values=math.inf)
                self._least = np.pad(self._least, wide)
                self._greatest = np.pad(self._greatest, wide)
                # Where each trial's column begins, less one row.
                self._before = np.arange(len(self._last)) - len(self._last)
        passed: list[float] = []
        if self._kept:
            begin = bisect_right(self._kept_times, history.last_time)
            passed = self._kept_times[begin : bisect_right(self._kept_times, time)]
        if not time > history.last_time or len(passed) > _MOST_PASSED:
            # The trial was set back, and has other means now; or see above.
            self._kept.clear()
            self._kept_times.clear()
            passed = []
        place = history.add(time, value, self._grace_period)
        self._last[history.row] = time
        if place is not None:
            self._update_blocks(history, place)
        for earlier in passed:
            mean = history.mean_until(earlier)
            if not math.isnan(mean):
                insort(self._kept[earlier], mean)
        return history

    def judge(self, time: float, own: _History) -> tuple[int, bool]:
        """Return how many other trials have means up to a time, and if all of one's are worse."""
        means = self._kept.get(time)
        if means is None and time not in self._asked:
            self._asked[time] = None
            if len(self._asked) > _ASKED:
                del self._asked[next(iter(self._asked))]
            return self._judge_once(time, own)
        own_mean = own.mean_until(time)
        if means is None:
            found = self._means_until(time)
            means = self._kept[time] = array("d", sorted(found))
            insort(self._kept_times, time)
        own_place = len(means) if math.isnan(own_mean) else bisect_left(means, own_mean)
        count = len(means) - (own_place < len(means))
        if not count:
            return 0, False
        low, high = (count - 1) // 2, count // 2
        low, high = low + (low >= own_place), high + (high >= own_place)
        return count, own.best < _middle(means[low], means[high])

    def _judge_once(self, time: float, own: _History) -> tuple[int, bool]:
        known = self._last >= time
        known &= self._begin[0] <= time
        known[own.row] = False
        count = int(np.count_nonzero(known))
        # Nearly always: a trial's best value is better than most others' means ever were.
        if 2 * int(np.count_nonzero(known & (self._top <= own.best))) > count:
            return count, False
        block = np.add.reduce(self._begin <= time, axis=0, dtype=np.int8)
        place = np.multiply(block, len(known), dtype=np.intp)
        place += self._before
        not_above = known & (self._greatest.ravel().take(place, mode="wrap") <= own.best)
        better = int(np.count_nonzero(not_above))
        if 2 * better > count:
            return count, False
        unclear = known & (self._least.ravel().take(place, mode="wrap") <= own.best)
        if 2 * int(np.count_nonzero(unclear)) < count:
            return count, count > 0
        unclear &= ~not_above
        for row in unclear.nonzero()[0].tolist():
            better += self._rows[row].mean_until(time) <= own.best
        if 2 * better != count:
            return count, 2 * better < count
        # The value is between the two that the median is the middle of.
        means = sorted(self._means_until(time, own))
        return count, count > 0 and own.best < _middle(means[count // 2 - 1], means[count // 2])

    def _means_until(self, time: float, without: _History | None = None) -> Iterator[float]:
        """Yield the means up to a time of all trials that have reached it, if they have one."""
        for history in self._rows:
            if history.last_time >= time and history is not without:
                mean = history.mean_until(time)
                if mean == mean:
                    yield mean

    def _update_blocks(self, history: _History, first: int) -> None:
        """Add a trial's means, from an index on, to its blocks."""
        row, means = history.row, history.means
        if len(means) > _BLOCKS * history.block:
            history.block *= 2
            first = 0
        if first < len(means) - 1:
            self._begin[:, row] = math.inf
            self._top[row] = -math.inf
            first = 0
        self._top[row] = max(self._top.item(row), *means[first:])
        for index in range(first, len(means)):
            block, inside = divmod(index, history.block)
            mean = means[index]
            if not inside:
                self._begin[block, row] = history.times[index]
                self._least[block, row] = self._greatest[block, row] = mean
            elif mean < self._least.item(block, row):
                self._least[block, row] = mean
            elif mean > self._greatest.item(block, row):
                self._greatest[block, row] = mean


def _middle(low: float, high: float) -> float:
    """Return the mean of two values, exactly their value if they are equal or infinite."""
    return low if low == high else (low + high) / 2


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
        min_samples_required: Minimum of other trials to compare with.
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
        count, is_worse = self._means.judge(time, own)
        if count < self._min_samples_required:
            return self._yield_slot(controller, trial, time)
        if not is_worse or own.best == -math.inf:
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
        return result.get(self._time_attr) is not None and result.get(str(self._metric)) is not None

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
