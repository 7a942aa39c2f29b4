"""What a snapshot holds, and where the experiment stands that it is of."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.coordinator.commands import TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.engine.resume.result_constants import AttemptConstants
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper
from prefect_tune.storage.snapshot_files import SnapshotFiles

#: The version of Python that pickles depend on.
PYTHON = ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True, slots=True)
class Deciders:
    """What a snapshot holds the state of, beside the coordinator.

    Attributes:
        scheduler: The scheduler.
        stopper: The stopping criteria.
        search_alg: The searcher, which saves itself; a scheduler may refer to it.
        scheduler_print: Fingerprint of the scheduler before the run.
        stopper_print: Fingerprint of the stopper before the run.
    """

    scheduler: TrialScheduler
    stopper: Stopper
    search_alg: Any = None
    scheduler_print: str = ""
    stopper_print: str = ""

    def names(self, coordinator: Coordinator) -> dict[str, Any]:
        """The objects that a snapshot only names."""
        return {
            "coordinator": coordinator,
            "scheduler": self.scheduler,
            "stopper": self.stopper,
            "search_alg": self.search_alg,
        }


@dataclass
class SnapshotBody:
    """The state itself; pickled by `dump_state`.

    Attributes:
        coordinator: State of the coordinator.
        scheduler: State of the scheduler.
        stopper: State of the stopping criteria.
        constants: What results are completed with.
        suggested: Suggestions that the saved state of the search does not know.
        tells: What it has not been told.
    """

    coordinator: Any
    scheduler: Any
    stopper: Any
    constants: AttemptConstants
    suggested: list[TrialSuggested]
    tells: list[TellSearch]


@dataclass
class Position:
    """How far an experiment has got when it is opened.

    Attributes:
        origin: Id of the run.
        records: How many records its journal has.
        suggested: How many trials the search has suggested.
        told: How much it has been told.
        constants: What results are completed with.
        files: Where snapshots go; continues the one that the experiment was resumed from.
        stored: Ids of the finished trials in `files`.
    """

    origin: str
    files: SnapshotFiles
    records: int = 0
    suggested: int = 0
    told: int = 0
    constants: AttemptConstants = field(default_factory=AttemptConstants)
    stored: set[str] = field(default_factory=set)
