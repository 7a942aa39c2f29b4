"""What a sweep remembers about itself, so that it goes on when its program is executed again.

A flow run may be executed several times: retried, resumed, restarted after a crash. Each time the
user's code makes the same call, which knows neither that it is not the first one nor, with a name
that was made up, where the experiment is. Whoever does know that is asked through this seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from prefect_tune.engine.planning.sweep_identity import SweepIdentity
from prefect_tune.filesystem.location import Location


@dataclass(frozen=True, slots=True)
class BegunSweep:
    """A sweep that an earlier execution has begun.

    Attributes:
        name: Name of its experiment.
        origin: Id of the first run of this experiment; another one may have been run in the same
            directory since.
        failed: True if it has ended, and its failed trials have made the call fail.
    """

    name: str
    origin: str
    failed: bool = False

    def resume_mode(self, asked: Any, config: Any = None) -> Any:
        """How to go on with it.

        Args:
            asked: What the user's call says; None says nothing.
            config: The call's `resume_config`, which may say which trials run again.

        Returns:
            What a user would give as `resume=`. There may be nothing to resume if the process was
            killed at the very beginning, so it is never one that insists.
        """
        if asked not in (None, "PROMPT"):
            return asked
        return "AUTO+ERRORED" if self.failed and config is None else "AUTO"


class SweepMemory(Protocol):
    """Remembers the experiment of one sweep."""

    def recall(self, storage: Location, sweep: SweepIdentity) -> BegunSweep | None:
        """What an earlier execution has begun.

        Args:
            storage: Where experiment directories lie.
            sweep: What the sweep is.
        """
        ...

    def remember(self, name: str, origin: str) -> None:
        """The sweep has begun or goes on; to be called after `recall`.

        Args:
            name: Name of its experiment.
            origin: Id of the experiment's first run.
        """
        ...
