"""What came out of one trial."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_tune.error import TrialFailed
from prefect_tune.experiment.trial import Trial
from prefect_tune.results.frames import read_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Result:
    """The outcome of one trial.

    Attributes:
        metrics: The last result, with the auto-filled metrics; empty if there was none.
        error: Why the trial failed, None if it did not.
        path: The trial's directory, None if it has none.
        checkpoint: The newest checkpoint, None if there is none.
        best_checkpoints: Kept checkpoints with their metrics.
        config: The trial's configuration.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    path: str | None = None
    checkpoint: Any = None
    best_checkpoints: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: Trial) -> Result:
        """The outcome of a trial as it is now."""
        return cls(
            metrics=trial.last_result,
            error=trial_error(trial),
            path=trial.logdir or None,
            config=trial.config,
        )

    @property
    def log_dir(self) -> Path | None:
        """Ray 2.0's name of `path`."""
        return None if self.path is None else Path(self.path)

    @cached_property
    def metrics_dataframe(self) -> pd.DataFrame | None:
        """All results of the trial, one row each; None if there are none.

        Raises:
            ImportError: If pandas is not installed.
        """
        return None if self.path is None else read_frame(self.path, "json")


def trial_error(trial: Trial) -> BaseException | None:
    """The exception with which a trial failed, None if it did not.

    If the exception itself cannot be had, it is a `TrialFailed` with its text.
    """
    if trial.status != Trial.ERROR:
        return None
    if trial.error is not None and trial.error.pickled is not None:
        try:
            error = pickle.loads(trial.error.pickled)
        except Exception:
            # Whatever the class of a user's exception does; the text is left.
            error = None
        if isinstance(error, BaseException):
            return error
    return TrialFailed(f"{trial} failed: {trial.error_msg or 'no reason is known'}", [trial])
