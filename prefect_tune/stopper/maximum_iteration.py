"""Stop trials after a number of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.experiment.decision import RunUntil
from prefect_tune.stopper.counting import ResultCounter
from prefect_tune.stopper.stopper import TrialStopper
from prefect_tune.validation import check_count


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
