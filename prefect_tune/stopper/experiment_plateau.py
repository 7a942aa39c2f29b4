"""Stop an experiment whose best results no longer change."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from typing import Any

import numpy as np

from prefect_tune.stopper.metric import metric_value
from prefect_tune.stopper.stopper import Stopper
from prefect_tune.validation import check_count, check_metric_name, check_mode, check_number


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
