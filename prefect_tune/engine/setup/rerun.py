"""The interface to the record of sweeps that an earlier execution of the flow run has begun.

A flow run may be executed several times: retried, resumed, restarted after a crash. Each time the
user's code makes the same call, which knows neither that it is repeated nor, with a generated name,
where the experiment is. The orchestration records both, and `make_setup` reads them through this
interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from prefect_tune.engine.setup.sweep_identity import SweepIdentity
from prefect_tune.filesystem.location import Location


@dataclass(frozen=True, slots=True)
class BegunSweep:
    """A sweep that an earlier execution of the flow run has begun.

    Attributes:
        name: Name of the sweep's experiment.
        origin: Id of the experiment's first run. The directory may hold another experiment by now.
        failed: True if the sweep has ended, and the call has failed because of failed trials.
    """

    name: str
    origin: str
    failed: bool = False

    def resume_mode(self, asked: Any, config: Any = None) -> Any:
        """Return the `resume` argument with which the sweep goes on.

        Args:
            asked: The user's `resume` argument; None if not given.
            config: The user's `resume_config`, which may say which trials run again.

        Returns:
            A value of `resume`. If the user gave none, it is one that begins a new experiment where
            there is none: the process may have been killed before it wrote anything.
        """
        if asked not in (None, "PROMPT"):
            return asked
        return "AUTO+ERRORED" if self.failed and config is None else "AUTO"


class RerunRecord(Protocol):
    """The record of the experiment that one sweep has begun."""

    def look_up(self, storage: Location, sweep: SweepIdentity) -> BegunSweep | None:
        """Return the sweep that an earlier execution has begun; None if there is none.

        Args:
            storage: The location of experiment directories.
            sweep: The identity of the sweep.
        """
        ...

    def record(self, name: str, origin: str) -> None:
        """Record that the sweep has begun or goes on; call `look_up` first.

        Args:
            name: Name of the sweep's experiment.
            origin: Id of the experiment's first run.
        """
        ...
