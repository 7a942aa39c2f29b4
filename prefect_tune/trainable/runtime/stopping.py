"""How a trial is ended from inside `report`: exceptions that ordinary handlers let through.

They derive from `SystemExit`, so that ``except Exception`` in user code does not swallow them while
``finally`` blocks and context managers run.
"""

from __future__ import annotations

from prefect_tune.coordinator.events import Outcome


class TrialEnding(SystemExit):
    """Base class: this attempt ends now, and not because of an error."""

    outcome = Outcome.STOPPED

    def __init__(self) -> None:
        super().__init__(0)


class TrialStopped(TrialEnding):
    """A decision ended the trial for good."""


class TrialPaused(TrialEnding):
    """A decision ended this attempt; a later one goes on."""

    outcome = Outcome.PAUSED


class TrialTerminated(TrialEnding):
    """The process was asked to end by SIGTERM."""
