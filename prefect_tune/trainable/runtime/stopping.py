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
    """A scheduler or stopper has ended the trial."""


class TrialPaused(TrialEnding):
    """A scheduler has paused the trial: this attempt ends, and a later one continues."""

    outcome = Outcome.PAUSED


class TrialTerminated(TrialEnding):
    """The process was asked to end by SIGTERM."""
