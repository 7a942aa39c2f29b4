"""The median stopping rule.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.1, in
the variant of Ray Tune 2.0. NaN and infinite values of the metric are left out, as in later ones.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from statistics import median
from typing import Any

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler
from prefect_tune.validation import check_count, check_number


class _History:
    """The results of one trial.

    Attributes:
        last_time: Time of its newest result.
        last_value: Metric of its newest result, sign turned so that more is better.
        best: Its best finite value ever, -inf before the first.
    """

    __slots__ = ("_means", "_times", "_values", "best", "last_time", "last_value")

    def __init__(self) -> None:
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

    def mean_until(self, time: float) -> float | None:
        """Mean of the values from the grace period up to a time, None if there are none."""
        count = bisect_right(self._times, time)
        return self._means[count - 1] if count else None


class MedianStoppingRule(ObjectiveScheduler):
    """Stops trials whose best result is worse than the median of the others' running means.

    A result at time ``t`` from the grace period on is judged against all trials, running or
    finished, whose newest result is at or after ``t`` and that have a finite value in
    ``[grace_period, t]``: the trial stops if its best value so far is strictly worse than the
    median of their means over that time.

    What differs from Ray Tune: values that are not finite are left out one by one, where Ray leaves
    out the whole trial, so that one overflow does not shield a trial for ever; a last result counts
    once, where Ray counts it twice if a stopping criterion ends the trial; and means are rounded so
    that equal trials do not stop each other.

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
        self._histories: dict[str, _History] = {}
        self._stopped: set[str] = set()
        self._last_pause: dict[str, float] = {}

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Judge a result from the grace period on.

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
        means = [
            mean
            for other in self._histories.values()
            if other.last_time >= time
            and other is not own
            and (mean := other.mean_until(time)) is not None
        ]
        if len(means) < self._min_samples_required:
            return self._yield_slot(controller, trial, time)
        if not means or own.best == -math.inf or own.best >= median(means):
            return self.CONTINUE
        self._stopped.add(trial.trial_id)
        return self.STOP if self._hard_stop else self.PAUSE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Take in the last result, if a stopping criterion kept it from `on_trial_result`."""
        self._last_pause.pop(trial.trial_id, None)
        if not result or not self._is_complete(result):
            return
        known = self._histories.get(trial.trial_id)
        last = (
            self._number(result, self._time_attr, "time_attr"),
            self._metric_op * self._number(result, str(self._metric), "metric"),
        )
        if known is None or last != (known.last_time, known.last_value):
            self._record(trial, result)

    def run_until(self, trial: Trial) -> RunUntil:
        """The grace period, and from there on every result."""
        if trial.trial_id in self._stopped:
            return NEVER
        return RunUntil(((self._time_attr, self._grace_period),))

    def debug_string(self) -> str:
        """Number of stopped trials."""
        return f"Using MedianStoppingRule: num_stopped={len(self._stopped)}."

    def _is_complete(self, result: dict[str, Any]) -> bool:
        names = (self._time_attr, str(self._metric))
        return all(result.get(name) is not None for name in names)

    def _record(self, trial: Trial, result: dict[str, Any]) -> _History:
        time = self._number(result, self._time_attr, "time_attr")
        value = self._metric_op * self._number(result, str(self._metric), "metric")
        history = self._histories.get(trial.trial_id)
        if history is None:
            history = self._histories[trial.trial_id] = _History()
        history.add(time, value, self._grace_period)
        return history

    def _yield_slot(self, controller: ControllerView, trial: Trial, time: float) -> str:
        """Give way to waiting trials if the time slice is used up."""
        since = time - self._last_pause.get(trial.trial_id, -math.inf)
        if since > self._min_time_slice and controller.get_waiting_trials():
            self._last_pause[trial.trial_id] = time
            return self.PAUSE
        return self.CONTINUE
