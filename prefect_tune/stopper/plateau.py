"""Stop trials, or an experiment, whose results no longer change."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.stopper.criteria import ResultCounter, metric_value
from prefect_tune.stopper.stopper import Stopper, TrialStopper
from prefect_tune.validation import (
    check_count,
    check_metric_name,
    check_mode,
    check_number,
    is_number,
)


class TrialPlateauStopper(TrialStopper):
    """Stops a trial whose last results hardly differ.

    Args:
        metric: The metric to watch. A result without the metric does not stop the trial.
        std: Stop if the standard deviation of the last results is below this.
        num_results: Number of last results to compare.
        grace_period: Number of results before which a trial is not stopped.
        metric_threshold: Stop only while the metric is as good as this or better.
        mode: ``min`` or ``max``; needed with `metric_threshold` only.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        check_metric_name("metric", metric)
        check_number("std", std, above=0)
        check_count("num_results", num_results, at_least=1)
        check_count("grace_period", grace_period, at_least=0)
        if metric_threshold is not None:
            if not is_number(metric_threshold):
                raise InvalidArgument(
                    "metric_threshold", f"got {metric_threshold!r}.", "Give a number."
                )
            check_mode(mode)
        self._metric = metric
        self._std = std
        self._num_results = num_results
        self._grace_period = grace_period
        self._metric_threshold = metric_threshold
        self._mode = mode
        self._results = ResultCounter()
        self._windows: dict[str, deque[float]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note a result, and return True if the trial's last results hardly differ.

        Raises:
            InvalidArgument: If the metric is not a number.
        """
        value = math.nan
        if result.get(self._metric) is not None:
            value = metric_value(trial_id, result, self._metric)
        window = self._windows.get(trial_id)
        if window is None:
            window = self._windows[trial_id] = deque(maxlen=self._num_results)
        window.append(value)
        if self._results.count(trial_id) < self._grace_period or len(window) < self._num_results:
            return False
        # The standard deviation of values that are not finite is NaN.
        return (
            all(map(math.isfinite, window))
            and self._is_good(value)
            and bool(np.std(window) < self._std)
        )

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the first result with which the trial may stop."""
        return self._results.run_until(trial_id, max(self._grace_period, self._num_results))

    def get_state(self) -> dict[str, Any]:
        """Return the number of results and the last results of each trial."""
        windows = {trial_id: list(window) for trial_id, window in self._windows.items()}
        return {"counts": self._results.counts, "windows": windows}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the results from a state of `get_state`."""
        self._results.counts = dict(state["counts"])
        self._windows = {
            trial_id: deque(values, maxlen=self._num_results)
            for trial_id, values in state["windows"].items()
        }

    def _is_good(self, value: float) -> bool:
        if self._metric_threshold is None:
            return True
        if self._mode == "min":
            return value <= self._metric_threshold
        return value >= self._metric_threshold


class ExperimentPlateauStopper(Stopper):
    """Stops the experiment once its best results hardly differ.

    Args:
        metric: The metric to watch; every result must have it.
        std: Stop if the standard deviation of the best results is at most this.
        top: Number of best results, over all trials.
        mode: Whether the best results are the ``min`` or the ``max`` ones.
        patience: Number of consecutive results after which the best results must hardly differ; 0
            and 1 stop at the first.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.001,
        top: int = 10,
        mode: str = "min",
        patience: int = 0,
    ) -> None:
        check_metric_name("metric", metric)
        check_number("std", std, above=0)
        check_count("top", top, at_least=2)
        check_mode(mode)
        check_count("patience", patience, at_least=0)
        self._metric = metric
        self._std = std
        self._top = top
        self._sign = 1.0 if mode == "min" else -1.0
        self._patience = patience
        self._best: list[float] = []  # ascending; values are negated for "max"
        self._plateau_length = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note a result, and return True once the best results hardly differ.

        Raises:
            MissingMetric: If the result does not have the metric.
            InvalidArgument: If the metric is not a number.
        """
        value = self._sign * metric_value(trial_id, result, self._metric)
        if math.isfinite(value):
            insort(self._best, value)
            del self._best[self._top :]
        self._plateau_length = self._plateau_length + 1 if self._has_plateaued() else 0
        return self.stop_all()

    def stop_all(self) -> bool:
        """Return True once the best results hardly differ."""
        return self._plateau_length >= max(1, self._patience)

    def get_state(self) -> dict[str, Any]:
        """Return the best results and the number of results since they hardly differ."""
        best = [self._sign * value for value in self._best]
        return {"best": best, "plateau_length": self._plateau_length}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the best results from a state of `get_state`."""
        self._best = sorted(self._sign * value for value in state["best"])[: self._top]
        self._plateau_length = state["plateau_length"]

    def _has_plateaued(self) -> bool:
        return len(self._best) == self._top and bool(np.std(self._best) <= self._std)


#: The name of `ExperimentPlateauStopper` in Ray Tune 1.
EarlyStopping = ExperimentPlateauStopper
