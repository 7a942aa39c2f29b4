"""Which trial went on from which other one, as population based training has them do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Copy:
    """A trial went on from another trial's checkpoint.

    Attributes:
        time: When, in seconds since the epoch.
        trial_id: The trial.
        source_id: The trial whose checkpoint it was.
        iteration: The `training_iteration` of the checkpoint.
        config: The configuration from then on, {} if it cannot be read back.
        experiment_tag: The trial's tag from then on.
    """

    time: float
    trial_id: str
    source_id: str
    iteration: int
    config: dict[str, Any]
    experiment_tag: str


def lineage_of(trial_id: str, copies: Sequence[Copy]) -> list[Copy]:
    """The copies that have led to what a trial is, oldest first; empty if it has copied none.

    Args:
        trial_id: The trial.
        copies: All of the experiment, in order.
    """
    found: list[Copy] = []
    for copy in reversed(copies):
        if copy.trial_id == trial_id:
            found.append(copy)
            trial_id = copy.source_id  # what that one was before
    return found[::-1]
