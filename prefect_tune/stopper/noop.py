"""A stopper that never stops."""

from __future__ import annotations

from typing import Any

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.stopper.stopper import TrialStopper


class NoopStopper(TrialStopper):
    """A stopper that never stops a trial or the experiment."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False."""
        return False

    def run_until(self, trial_id: str) -> RunUntil:
        """Return that the trial never waits."""
        return NEVER
