"""Stoppers by the number of results, by values that are not finite, and by time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.error import MissingMetric
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, RunUntil
from prefect_tune.stopper.stopper import Stopper, TrialStopper
from prefect_tune.validation import (
    as_number,
    check_count,
    check_metric_name,
    is_number,
    seconds_from,
)


def metric_value(trial_id: str, result: Mapping[str, Any], metric: str) -> float:
    """Return the value of a metric in a flattened result.

    Raises:
        MissingMetric: If the result does not have the metric.
        InvalidArgument: If the value cannot be converted to a number.
    """
    if metric not in result:
        raise MissingMetric(
            f"`stop`: the criterion {metric!r} is not in the result of trial {trial_id}. "
            f"It has: {', '.join(sorted(map(str, result))) or 'nothing'}."
        )
    right = "Stop by a metric that is a number."
    return as_number(result[metric], "stop", metric, right, trial_id)


#: The auto-filled metric that counts the results of one attempt from 1.
_REPORTS_OF_ATTEMPT = "iterations_since_restore"


class ResultCounter:
    """Counts the results of each trial over all its attempts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, trial_id: str) -> int:
        """Count one more result of a trial, and return the number so far."""
        number = self.counts.get(trial_id, 0) + 1
        self.counts[trial_id] = number
        return number

    def run_until(self, trial_id: str, number: int) -> RunUntil:
        """Return the point of a trial's result with a number, or an earlier point.

        An attempt knows only its own number of results, and the counter does not know which attempt
        a result was from: in the middle of an attempt, the point may be too early, never too late.
        """
        missing = number - self.counts.get(trial_id, 0)
        return RunUntil(((_REPORTS_OF_ATTEMPT, missing),))


class MaximumIterationStopper(TrialStopper):
    """Stops a trial at its n-th result, counted over all its attempts.

    Args:
        max_iter: The number of results, at least 1.

    Raises:
        InvalidArgument: If `max_iter` is not a positive integer.
    """

    def __init__(self, max_iter: int) -> None:
        check_count("max_iter", max_iter, at_least=1)
        self._max_iter = max_iter
        self._results = ResultCounter()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Count a result, and return True from the n-th one on."""
        return self._results.count(trial_id) >= self._max_iter

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the point of the n-th result, or an earlier one in the middle of an attempt."""
        return self._results.run_until(trial_id, self._max_iter)

    def get_state(self) -> dict[str, Any]:
        """Return the number of results of each trial."""
        return {"counts": self._results.counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the counts from a state of `get_state`."""
        self._results.counts = dict(state["counts"])


class NonFiniteStopper(TrialStopper):
    """Stops a trial with metrics that are NaN or infinite, as it will not recover.

    Args:
        *metrics: The metrics to watch, nested ones with ``/``; without any, all numbers that a
            trial reports are watched, and trials wait at each result. A result without a metric
            does not stop the trial.
        patience: Number of consecutive results that must not be finite; 1 stops at the first.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(self, *metrics: str, patience: int = 1) -> None:
        for metric in metrics:
            check_metric_name("metrics", metric)
        check_count("patience", patience, at_least=1)
        self._metrics = metrics
        self._patience = patience
        self._in_a_row: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True once `patience` consecutive results were not finite."""
        if not self._has_diverged(result):
            self._in_a_row.pop(trial_id, None)
            return False
        number = self._in_a_row[trial_id] = self._in_a_row.get(trial_id, 0) + 1
        return number >= self._patience

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the first result that is not finite, or each result if no metrics are named."""
        if not self._metrics:
            return EVERY_RESULT
        return RunUntil(tuple((metric, math.inf) for metric in self._metrics))

    def get_state(self) -> dict[str, Any]:
        """Return each trial's number of consecutive results that were not finite."""
        return {"in_a_row": self._in_a_row}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the counts from a state of `get_state`."""
        self._in_a_row = dict(state["in_a_row"])

    def _has_diverged(self, result: Mapping[str, Any]) -> bool:
        names = self._metrics or [name for name in result if not name.startswith("config/")]
        values: Iterator[Any] = (result.get(name) for name in names)
        return any(is_number(value) and not math.isfinite(value) for value in values)


class TimeoutStopper(Stopper):
    """Stops the experiment after a wall-clock time.

    Time is counted from the first call of `on_time`. Without calls of `on_time`, it is counted by
    the `timestamp` of results; the two are not mixed, since clocks of hosts differ.

    Args:
        timeout: Seconds, or a `datetime.timedelta`.
        argument: The name used in errors.

    Raises:
        InvalidArgument: If `timeout` is not a finite time above 0.
    """

    def __init__(self, timeout: Any, argument: str = "timeout") -> None:
        self._budget = seconds_from(argument, timeout)
        self._elapsed = 0.0
        self._last: float | None = None
        self._is_told = False

    @property
    def budget(self) -> float:
        """The time after which the experiment stops, in seconds."""
        return self._budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: only `stop_all` ends trials. Without `on_time`, count the result's time."""
        timestamp = result.get("timestamp")
        if not self._is_told and timestamp is not None and is_number(timestamp):
            self._advance(float(timestamp))
        return False

    def stop_all(self) -> bool:
        """Return True once the time is over."""
        return self._elapsed >= self._budget

    def run_until(self, trial_id: str) -> RunUntil:
        """Return that trials never wait; the engine ends running trials when the time is over."""
        return NEVER

    def on_time(self, now: float) -> None:
        """Count the time since the last call."""
        if not self._is_told:
            self._is_told = True
            self._last = None
        self._advance(now)

    def on_resume(self, now: float) -> None:
        """Count time from `now` on."""
        self._last = now

    def get_state(self) -> dict[str, Any]:
        """Return the time counted so far, without the budget, which a resume may change."""
        return {"elapsed": self._elapsed, "last": self._last, "is_told": self._is_told}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the time counted so far from a state of `get_state`."""
        self._elapsed = state["elapsed"]
        self._last = state["last"]
        self._is_told = state["is_told"]

    def _advance(self, now: float) -> None:
        # A clock that is set back does not reduce the time counted so far.
        if self._last is None or now > self._last:
            self._elapsed += 0.0 if self._last is None else now - self._last
            self._last = now
