"""Opens a checkpoint that an experiment knows."""

from __future__ import annotations

import os

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location


def open_checkpoint(saved: TrialCheckpoint, root: Location) -> Checkpoint:
    """A checkpoint as users hold it.

    Args:
        saved: The checkpoint.
        root: The experiment directory.
    """
    elsewhere = "://" in saved.path or os.path.isabs(saved.path)
    place = Location(saved.path, root.options, root.block) if elsewhere else root / saved.path
    return Checkpoint.at_location(place)
