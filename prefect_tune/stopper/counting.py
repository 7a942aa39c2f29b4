"""Count the results of each trial."""

from __future__ import annotations

from prefect_tune.experiment.decision import RunUntil

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
