"""The state of a coordinator, for snapshots."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.trial import Trial


@dataclass
class CoordinatorState:
    """What a coordinator knows, and a replay of its records would.

    It shares its parts with the coordinator: pickle it before the next event is handled. Trials are
    referred to from several places, so it has to be one pickle. A finished trial changes only where
    a `Resumed` event runs it once more, or a `CheckpointsDropped` record names it: whoever writes
    finished trials elsewhere need not write them again.

    Attributes:
        trials: All trials, in order of creation.
        live: What else is known of the unfinished ones, in queue order.
        aside: The same of those that were left out by the last resume.
        retired: Ids of those that have finished last, in that order.
        dropped: ``(trial id, path)`` of the checkpoints that were dropped last.
    """

    trials: list[Trial] = field(default_factory=list)
    live: list[LiveTrial] = field(default_factory=list)
    aside: list[LiveTrial] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)


def portable(live: LiveTrial) -> LiveTrial:
    """An entry without what depends on the cluster: a replay knows nothing of nodes."""
    entry = copy.copy(live)
    entry.node = ""
    if entry.slot is not None:
        entry.slot = replace(entry.slot, node="", devices=())
    return entry
