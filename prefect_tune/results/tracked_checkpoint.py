"""`trial.checkpoint`: the newest checkpoint of a trial, under the names of Ray Tune's versions."""

from __future__ import annotations

from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.results.checkpoints import open_checkpoint


class TrackedCheckpoint(Checkpoint):
    """A trial's checkpoint: a `Checkpoint`, with what Ray 1 and 2.0 call its parts.

    Attributes:
        metrics: The result that it belongs to, nested as reported.
    """

    metrics: dict[str, Any]

    @property
    def value(self) -> str:
        """Its directory, as in Ray 1."""
        return self.path

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


def open_tracked(saved: TrialCheckpoint, local_experiment_dir: str) -> TrackedCheckpoint:
    """A trial's checkpoint below an experiment directory of this machine.

    Args:
        saved: What the experiment knows of it.
        local_experiment_dir: The directory.
    """
    root = Location(local_experiment_dir)
    tracked = TrackedCheckpoint.from_checkpoint(open_checkpoint(saved, root))
    tracked.metrics = saved.metrics
    return tracked


# Done by importing `prefect_tune.results`, as everyone has who can get at a trial.
Trial.open_checkpoint = staticmethod(open_tracked)
