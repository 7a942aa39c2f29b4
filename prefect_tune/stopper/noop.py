"""A stopper that never stops."""

from __future__ import annotations

from typing import Any

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.stopper.stopper import TrialStopper


class NoopStopper(TrialStopper):
    """Stops nothing."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False."""
        return False

    def run_until(self, trial_id: str) -> RunUntil:
        """Never."""
        return NEVER
