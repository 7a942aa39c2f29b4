"""Find checkpoints of finished trials: the newest, the best, those in a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from prefect_tune.checkpoint.manifest import MARKER, read_manifest
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.plain import finite_number, number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten

#: The metric that ranks checkpoints by default: the newest is the best.
BY_AGE = "training_iteration"


def find_trial(trials: Sequence[Trial], name: Trial | str | os.PathLike[str]) -> Trial:
    """Return the trial with a directory or an id; a `Trial` is returned as it is.

    Raises:
        InvalidArgument: If no trial has that directory or id.
    """
    if isinstance(name, Trial):
        return name
    text = os.fspath(name)
    for trial in trials:
        if text == trial.trial_id or os.path.normpath(text) == trial.logdir:
            return trial
    raise InvalidArgument(
        "trial",
        f"none of {len(trials)} has the directory or the id {text!r}.",
        "Give a Trial, e.g. one of `trials`, its `logdir` or its `trial_id`.",
    )


def last_checkpoint(trial: Trial) -> TrialCheckpoint | None:
    """Return the checkpoint that a trial has written last, None if it has none.

    Unlike `Trial.newest_checkpoint` this may be one that no attempt can start from.
    """
    return trial.checkpoints[-1] if trial.checkpoints else None


def best_index(values: Iterable[float | None], mode: str) -> int | None:
    """Return the position of the best value, the last one of equals; None without values."""
    sign = 1.0 if mode == "max" else -1.0
    scored = [(sign * v, i) for i, v in enumerate(values) if v is not None and v == v]
    return max(scored)[1] if scored else None


def checkpoint_value(checkpoint: TrialCheckpoint, metric: str) -> float | None:
    """Return a metric's value in the result that a checkpoint was saved with, None without one."""
    if metric == BY_AGE and metric not in checkpoint.metrics:
        return float(checkpoint.progress.iteration)
    value = number_of(flatten(checkpoint.metrics).get(metric))
    return None if value is None else float(value)


def find_checkpoints(directory: str, results: Sequence[dict[str, Any]]) -> list[TrialCheckpoint]:
    """Return the complete checkpoints in a trial's directory, oldest first.

    Args:
        directory: The trial's directory; an empty list if it cannot be read.
        results: The trial's results; a checkpoint gets the metrics of the last result of its
            iteration.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    except OSError:
        return []
    if not names:
        return []
    by_iteration = {finite_number(r.get("training_iteration")): r for r in results}
    found: list[TrialCheckpoint] = []
    for name in names:
        path = os.path.join(directory, name)
        manifest = None if name.startswith(".") else read_manifest(path)
        if manifest is not None:
            metrics = by_iteration.get(manifest.iteration, {})
            relative = f"{os.path.basename(directory)}/{name}"
            written = os.path.getmtime(os.path.join(path, MARKER))
            found.append(TrialCheckpoint(relative, manifest.progress, metrics, written))
    return sorted(found, key=lambda checkpoint: (checkpoint.progress.iteration, checkpoint.time))
