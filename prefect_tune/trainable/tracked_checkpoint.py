"""`trial.checkpoint`: the newest checkpoint of a trial, under the names of Ray Tune's versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.checkpoint.open import open_checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location
from prefect_tune.trainable.runtime.saved_state import saved_path

#: Where the checkpoints of experiments are, by experiment directory, if not in it.
_elsewhere: dict[str, Location] = {}


class TrackedCheckpoint(Checkpoint):
    """A trial's checkpoint: a `Checkpoint`, with what Ray 1 and 2.0 call its parts.

    Attributes:
        metrics: The result that it belongs to, nested as reported.
    """

    metrics: dict[str, Any]

    @property
    def value(self) -> str:
        """As in Ray 1: what a class's `save_checkpoint` returned if that is a path in it.

        Its directory if there is no such path, or not on this machine.
        """
        path = self.path
        return saved_path(Path(path)) if os.path.isdir(path) else path

    @property
    def dir_or_data(self) -> str:
        """Its directory, as in Ray 2.0."""
        return self.path

    @property
    def result(self) -> dict[str, Any]:
        """The result that it belongs to, as in Ray 1."""
        return self.metrics

    def to_air_checkpoint(self) -> Checkpoint:
        """Itself: there is one kind of checkpoint here."""
        return self


def locate_checkpoints(local_experiment_dir: str, location: Location | None) -> None:
    """Say where the checkpoints of an experiment are, for as long as this process lives.

    Args:
        local_experiment_dir: The experiment directory on this machine.
        location: The experiment directory in storage; None if there is no other one.
    """
    if location is None:
        _elsewhere.pop(local_experiment_dir, None)
    else:
        _elsewhere[local_experiment_dir] = location


def checkpoint_root(local_experiment_dir: str) -> Location:
    """Where the checkpoints of an experiment are, that is in `local_experiment_dir` here."""
    return _elsewhere.get(local_experiment_dir) or Location(local_experiment_dir)


def open_tracked(saved: TrialCheckpoint, local_experiment_dir: str) -> TrackedCheckpoint:
    """A trial's checkpoint, where `locate_checkpoints` says, or below the directory itself.

    Args:
        saved: What the experiment knows of it.
        local_experiment_dir: The experiment directory on this machine.
    """
    root = checkpoint_root(local_experiment_dir)
    tracked = TrackedCheckpoint.from_checkpoint(open_checkpoint(saved, root))
    tracked.metrics = saved.metrics
    return tracked
