"""Copies between trials: population based training continues from other trials' checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Copy:
    """A case of a trial that continued from another trial's checkpoint.

    Attributes:
        time: When the trial did so, in seconds since the epoch.
        trial_id: The trial that continued.
        source_id: The trial whose checkpoint was copied.
        iteration: The `training_iteration` of the checkpoint.
        config: The trial's configuration from then on, {} if the journal's cannot be read.
        experiment_tag: The trial's tag from then on.
    """

    time: float
    trial_id: str
    source_id: str
    iteration: int
    config: dict[str, Any]
    experiment_tag: str


def lineage_of(trial_id: str, copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies that a trial descends from, oldest first; empty if it copied nothing.

    Args:
        trial_id: The trial.
        copies: All copies of the experiment, in order.
    """
    found: list[Copy] = []
    for copy in reversed(copies):
        if copy.trial_id == trial_id:
            found.append(copy)
            trial_id = copy.source_id  # goes on with the ancestors of the copied trial
    return found[::-1]
