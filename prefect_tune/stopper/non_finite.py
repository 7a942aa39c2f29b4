"""Stop trials that have diverged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.experiment.decision import EVERY_RESULT, RunUntil
from prefect_tune.stopper.stopper import TrialStopper
from prefect_tune.validation import check_count, check_metric_name, is_number


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
