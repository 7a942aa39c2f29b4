"""Records of checkpoints: where one is, how far the trial was, and when trials write one."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.experiment.plain import finite_number


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial has got: the values from which its auto-filled metrics go on counting.

    Attributes:
        iteration: `training_iteration`.
        time_total_s: Seconds trained, over all attempts.
        timesteps_total: Steps; None if never reported.
        episodes_total: Episodes; None if never reported.
    """

    iteration: int = 0
    time_total_s: float = 0.0
    timesteps_total: float | None = None
    episodes_total: float | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Progress:
        """Return the progress in a complete result; values that are no numbers are ignored."""
        return cls(
            int(finite_number(result.get("training_iteration")) or 0),
            float(finite_number(result.get("time_total_s")) or 0.0),
            finite_number(result.get("timesteps_total")),
            finite_number(result.get("episodes_total")),
        )


#: The progress of a trial that starts without a checkpoint.
NO_PROGRESS = Progress()


@dataclass(frozen=True, slots=True)
class TrialCheckpoint:
    """One checkpoint of a trial, complete in storage.

    Attributes:
        path: Path relative to the experiment directory (``<trial dir>/checkpoint_000010``), so that
            the directory can be moved; an absolute path or URL for a checkpoint elsewhere.
        progress: How far the trial was.
        metrics: The result that the checkpoint belongs to, nested as reported.
        time: When the checkpoint was complete, in seconds since the epoch.
        problem: Why no attempt can start from the checkpoint; "" if one can.
    """

    path: str
    progress: Progress = NO_PROGRESS
    metrics: dict[str, Any] = field(default_factory=dict, compare=False)
    time: float = 0.0
    problem: str = ""


def newest_usable(
    checkpoints: Sequence[TrialCheckpoint], without: Container[str] = ()
) -> TrialCheckpoint | None:
    """Return the newest checkpoint that an attempt can start from; None if there is none.

    Args:
        checkpoints: The checkpoints of a trial, oldest first.
        without: Paths of checkpoints to leave out.
    """
    for checkpoint in reversed(checkpoints):
        if not checkpoint.problem and checkpoint.path not in without:
            return checkpoint
    return None


@dataclass(frozen=True, slots=True)
class CheckpointRules:
    """When a trial process writes checkpoints without being asked by user code (class trainables).

    Attributes:
        frequency: Number of iterations between checkpoints; 0 writes none.
        at_end: Whether a trial writes a checkpoint at its end.
        max_pending: Number of unfinished uploads from which on training waits.
    """

    frequency: int = 0
    at_end: bool = False
    max_pending: int = 2
