"""Counting the results of each trial."""

from __future__ import annotations

from prefect_tune.experiment.decision import RunUntil

#: Auto-filled: counts the reports of one attempt from 1.
_REPORTS_OF_ATTEMPT = "iterations_since_restore"


class ResultCounter:
    """How many results each trial has given, over all its attempts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, trial_id: str) -> int:
        """Count one more result; returns the number so far."""
        number = self.counts.get(trial_id, 0) + 1
        self.counts[trial_id] = number
        return number

    def run_until(self, trial_id: str, number: int) -> RunUntil:
        """Return a point not after the trial's result with this number.

        An attempt only knows its own number of reports, and whether it has just begun is not known
        here: it may have to wait early when asked in the middle of an attempt, never too late.
        """
        missing = number - self.counts.get(trial_id, 0)
        return RunUntil(((_REPORTS_OF_ATTEMPT, missing),))
