"""How the engine starts attempts: directly, or through somebody who records them on the way.

The engine calls `launch` from its loop for each `Launch` command. Everything that happens to the
attempt afterwards reaches the engine as events of the executor, whichever launcher is used, so a
recorder that is slow or broken can never hold up or change the sweep.
"""

from __future__ import annotations

from typing import Protocol

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.execution.base import Executor, TrialPlace


class AttemptLauncher(Protocol):
    """Starts attempts."""

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt, soon, and return without waiting for it.

        Args:
            launch: The attempt.
            place: Names and directory of its trial.
        """
        ...

    def ending(self, command: Kill | Decide) -> None:
        """An attempt is about to be ended; for those who say why.

        Args:
            command: What the executor is told next.
        """
        ...

    def close(self, timeout: float) -> None:
        """Finish what the launcher itself still has to do for attempts that have ended.

        Args:
            timeout: Seconds after which it gives up.
        """
        ...


class DirectLauncher:
    """Hands attempts to the executor and records nothing."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt on the executor."""
        self._executor.launch(launch, place)

    def ending(self, command: Kill | Decide) -> None:
        """Nobody is told."""

    def close(self, timeout: float) -> None:
        """Nothing is left to do."""
