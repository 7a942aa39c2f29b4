"""Checkpoints as the experiment knows them: where one is, how far it is, when to write one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.experiment.plain import finite_number


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial is: what its auto-filled metrics count on from.

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
        """The progress that a complete result shows; what is no number there does not count."""
        return cls(
            int(finite_number(result.get("training_iteration")) or 0),
            float(finite_number(result.get("time_total_s")) or 0.0),
            finite_number(result.get("timesteps_total")),
            finite_number(result.get("episodes_total")),
        )


#: A trial that starts afresh.
NO_PROGRESS = Progress()


@dataclass(frozen=True, slots=True)
class TrialCheckpoint:
    """One checkpoint of a trial, complete in storage.

    Attributes:
        path: Relative to the experiment directory (``<trial dir>/checkpoint_000010``), so that the
            directory can be moved; an absolute path or URL for one of somewhere else.
        progress: How far the trial was.
        metrics: The result that it belongs to, nested as reported.
        time: When it was complete, in seconds since the epoch.
        problem: Why no attempt goes on from it, "" if nothing speaks against it.
    """

    path: str
    progress: Progress = NO_PROGRESS
    metrics: dict[str, Any] = field(default_factory=dict, compare=False)
    time: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointRules:
    """When a trial process writes checkpoints without being asked by user code (class trainables).

    Attributes:
        frequency: Every so many iterations; 0 never.
        at_end: At the end of the trial.
        max_pending: How many may be on their way to storage before training waits.
    """

    frequency: int = 0
    at_end: bool = False
    max_pending: int = 2
