"""Opens a checkpoint that an experiment knows."""

from __future__ import annotations

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location, is_absolute


def open_checkpoint(saved: TrialCheckpoint, root: Location) -> Checkpoint:
    """A checkpoint as users hold it.

    Args:
        saved: The checkpoint.
        root: The experiment directory.
    """
    is_outside = is_absolute(saved.path)
    place = Location(saved.path, root.options, root.block) if is_outside else root / saved.path
    return Checkpoint.at_location(place)
