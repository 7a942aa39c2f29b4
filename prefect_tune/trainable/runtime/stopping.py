"""Exceptions that end an attempt from inside `report`.

They derive from `SystemExit`, so that ``except Exception`` in user code does not swallow them while
``finally`` blocks and context managers run.
"""

from __future__ import annotations

from prefect_tune.coordinator.events import Outcome


class TrialEnding(SystemExit):
    """Base class of exceptions that end an attempt without an error."""

    outcome = Outcome.STOPPED

    def __init__(self) -> None:
        super().__init__(0)


class TrialStopped(TrialEnding):
    """Ends an attempt whose trial a scheduler or stopper has ended."""


class TrialPaused(TrialEnding):
    """Ends an attempt whose trial a scheduler has paused; a later attempt continues."""

    outcome = Outcome.PAUSED


class TrialTerminated(TrialEnding):
    """Ends an attempt whose process has received SIGTERM."""
