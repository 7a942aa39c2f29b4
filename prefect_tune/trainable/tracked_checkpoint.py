"""`TrackedCheckpoint`: a trial's checkpoint, with the attributes of all Ray Tune versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint, open_checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location
from prefect_tune.trainable.runtime.saved_state import saved_path

#: Locations in storage of experiments whose checkpoints are not in the local directory, by that.
_remote_locations: dict[str, Location] = {}


class TrackedCheckpoint(Checkpoint):
    """`Checkpoint` of a trial, with the attributes that it has in Ray 1 and 2.0.

    Attributes:
        metrics: Result of the checkpoint, nested as reported.
    """

    metrics: dict[str, Any]

    @property
    def value(self) -> str:
        """Path that a class's `save_checkpoint` returned, as in Ray 1.

        The checkpoint's directory if there is no such path, or not on this machine.
        """
        path = self.path
        return saved_path(Path(path)) if os.path.isdir(path) else path

    @property
    def dir_or_data(self) -> str:
        """Directory of the checkpoint, as in Ray 2.0."""
        return self.path

    @property
    def result(self) -> dict[str, Any]:
        """Result of the checkpoint, as in Ray 1."""
        return self.metrics

    def to_air_checkpoint(self) -> Checkpoint:
        """Return the checkpoint itself, because there is only one kind of checkpoint."""
        return self


def set_checkpoint_root(local_experiment_dir: str, location: Location | None) -> None:
    """Set the location of an experiment's checkpoints, for the life of this process.

    Args:
        local_experiment_dir: The experiment directory on this machine.
        location: The experiment directory in storage; None without remote storage.
    """
    if location is None:
        _remote_locations.pop(local_experiment_dir, None)
    else:
        _remote_locations[local_experiment_dir] = location


def checkpoint_root(local_experiment_dir: str) -> Location:
    """Return the location of the checkpoints of the experiment in a local directory."""
    return _remote_locations.get(local_experiment_dir) or Location(local_experiment_dir)


def open_tracked(saved: TrialCheckpoint, local_experiment_dir: str) -> TrackedCheckpoint:
    """Open a trial's checkpoint, in storage if `set_checkpoint_root` has set a location.

    Args:
        saved: The experiment's record of the checkpoint.
        local_experiment_dir: The experiment directory on this machine.
    """
    root = checkpoint_root(local_experiment_dir)
    tracked = TrackedCheckpoint.from_checkpoint(open_checkpoint(saved, root))
    tracked.metrics = saved.metrics
    return tracked
