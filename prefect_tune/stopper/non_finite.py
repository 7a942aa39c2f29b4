"""The end of a trial that has diverged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.experiment.decision import EVERY_RESULT, RunUntil
from prefect_tune.stopper.stopper import TrialStopper
from prefect_tune.validation import check_count, check_metric_name, is_number


class NonFiniteStopper(TrialStopper):
    """Stops a trial whose metrics have become NaN or infinite: it will not recover.

    Args:
        *metrics: The metrics to watch, nested ones with ``/``; none watches all numbers that a
            trial reports, which then waits at each result. A result without one of them keeps the
            trial going.
        patience: How many results in a row must not be finite; 1 stops at the first.

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
        """Return True once as many results in a row were not finite."""
        if not self._has_diverged(result):
            self._in_a_row.pop(trial_id, None)
            return False
        number = self._in_a_row[trial_id] = self._in_a_row.get(trial_id, 0) + 1
        return number >= self._patience

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the first result that is not finite; each, if no metrics are named."""
        if not self._metrics:
            return EVERY_RESULT
        return RunUntil(tuple((metric, math.inf) for metric in self._metrics))

    def get_state(self) -> dict[str, Any]:
        """Return how many results in a row were not finite."""
        return {"in_a_row": self._in_a_row}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._in_a_row = dict(state["in_a_row"])

    def _has_diverged(self, result: Mapping[str, Any]) -> bool:
        names = self._metrics or [name for name in result if not name.startswith("config/")]
        values: Iterator[Any] = (result.get(name) for name in names)
        return any(is_number(value) and not math.isfinite(value) for value in values)
