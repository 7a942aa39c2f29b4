"""How the engine starts attempts: directly, or through a launcher that also records them.

The engine calls `launch` from its loop for each `Launch` command. Everything that happens to the
attempt afterwards reaches the engine as events of the executor, whichever launcher is used, so a
recorder that is slow or broken can never hold up or change the sweep.
"""

from __future__ import annotations

from typing import Protocol

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.execution.base import Executor, TrialPlace


class AttemptLauncher(Protocol):
    """Starts attempts for the engine, and may record them."""

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt soon; return without waiting for it.

        Args:
            launch: The attempt.
            place: Directory and tag of its trial.
        """
        ...

    def note_end(self, command: Kill | Decide) -> None:
        """Note that the engine is about to end an attempt, so that its record can say why.

        Args:
            command: The command that the executor gets next.
        """
        ...

    def close(self, timeout: float) -> None:
        """Finish the records of attempts that have ended.

        Args:
            timeout: Seconds after which the launcher gives up.
        """
        ...


class DirectLauncher:
    """Starts attempts on the executor and records nothing."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt on the executor."""
        self._executor.launch(launch, place)

    def note_end(self, command: Kill | Decide) -> None:
        """Do nothing: there is no record."""

    def close(self, timeout: float) -> None:
        """Do nothing: there is no record."""
