"""`Result`: the outcome of one trial."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_tune.checkpoint.checkpoint import open_checkpoint
from prefect_tune.error import InvalidArgument, TrialFailed
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.connect import connect
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.nested import flatten
from prefect_tune.result import AUTO_RESULT_KEYS
from prefect_tune.results.find_checkpoints import best_index, last_checkpoint
from prefect_tune.results.frames import read_frame
from prefect_tune.results.read_trials import load_trial
from prefect_tune.text import in_words
from prefect_tune.validation import check_mode

if TYPE_CHECKING:
    import pandas as pd

    from prefect_tune.checkpoint.checkpoint import Checkpoint


@dataclass(repr=False)
class Result:
    """The outcome of one trial.

    Attributes:
        metrics: The last result, with the auto-filled metrics; empty if there was none.
        error: Why the trial failed, None if it did not.
        path: The trial's directory, None if it has none.
        checkpoint: The newest checkpoint, a `Checkpoint`; None if there is none.
        best_checkpoints: Kept checkpoints with their metrics.
        config: The trial's configuration, with the changes that user code has made to it.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    path: str | None = None
    checkpoint: Checkpoint | None = None
    best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        own = {k: v for k, v in self.metrics.items() if k not in AUTO_RESULT_KEYS}
        return (
            f"Result(metrics={in_words(own, repr)}, error={in_words(self.error, repr)}, "
            f"path={self.path!r}, checkpoint={self.checkpoint!r})"
        )

    @classmethod
    def of(cls, trial: Trial, root: Location) -> Result:
        """Make the `Result` of a trial from its present state.

        Args:
            trial: The trial.
            root: The location that checkpoint paths are relative to.
        """
        last = last_checkpoint(trial)
        return cls(
            checkpoint=None if last is None else open_checkpoint(last, root),
            best_checkpoints=[(open_checkpoint(c, root), c.metrics) for c in trial.checkpoints],
            metrics=trial.last_result,
            error=trial_error(trial),
            path=trial.logdir or None,
            config=trial.last_result.get("config", trial.config),
        )

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Result:
        """Read the outcome of one trial from its directory, which may have been moved.

        Args:
            path: The trial's directory on this machine; for experiments in storage there are
                `ExperimentAnalysis` and `Tuner.restore`.

        Raises:
            StorageError: If there is no trial in the directory.
            InvalidArgument: If `path` is a URL.
        """
        place = parse_location(path, "path")
        if not place.is_local:
            raise InvalidArgument(
                "path",
                f"got {place}.",
                "It is a directory on this machine; ExperimentAnalysis reads from URLs.",
            )
        trial = load_trial(place.path)
        return cls.of(trial, Location(trial.local_experiment_dir))

    @property
    def filesystem(self) -> Any:
        """The fsspec file system on which `path` lies."""
        return fsspec_filesystem(Location(self.path or os.getcwd()))

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Return the kept checkpoint with the best value of a metric; None if no checkpoint has it.

        Args:
            metric: Name of the metric, nested ones with ``/``.
            mode: ``min`` or ``max``.

        Raises:
            InvalidArgument: If `mode` is neither ``min`` nor ``max``.
        """
        check_mode(mode)
        values = (flatten(metrics).get(metric) for _, metrics in self.best_checkpoints)
        best = best_index(values, mode)
        return None if best is None else self.best_checkpoints[best][0]

    @property
    def log_dir(self) -> Path | None:
        """The trial's directory; Ray 2.0's name of `path`."""
        return None if self.path is None else Path(self.path)

    @cached_property
    def metrics_dataframe(self) -> pd.DataFrame | None:
        """All results of the trial, one row each; None if there are none.

        Raises:
            ImportError: If pandas is not installed.
        """
        return None if self.path is None else read_frame(self.path, "json")


def fsspec_filesystem(root: Location) -> Any:
    """Return the fsspec file system of a location."""
    if root.is_local:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem()
    return connect(root)[0]


def trial_error(trial: Trial) -> BaseException | None:
    """Return the exception with which a trial failed, None if the trial did not fail.

    An exception that cannot be unpickled is replaced by a `TrialFailed` with its text.
    """
    if trial.status != Trial.ERROR:
        return None
    if trial.error is not None and trial.error.pickled is not None:
        try:
            error = pickle.loads(trial.error.pickled)
        except Exception:
            # The class of a user's exception may raise anything; its text is shown instead.
            error = None
        if isinstance(error, BaseException):
            return error
    return TrialFailed(f"{trial} failed: {trial.error_msg or 'no reason is known'}", [trial])
