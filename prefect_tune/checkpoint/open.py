"""Opens a trial's checkpoint."""

from __future__ import annotations

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location, is_absolute


def open_checkpoint(saved: TrialCheckpoint, root: Location) -> Checkpoint:
    """Return a trial's checkpoint as a `Checkpoint` object.

    Args:
        saved: The trial's record of the checkpoint.
        root: The experiment directory, local or in storage.
    """
    is_outside = is_absolute(saved.path)
    place = Location(saved.path, root.options, root.block) if is_outside else root / saved.path
    return Checkpoint.at_location(place)
