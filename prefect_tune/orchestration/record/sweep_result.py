"""The result of a sweep that is recorded in Prefect: small, typed, and plain enough for JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from prefect_tune.coordinator.trial_checkpoints import newest_usable
from prefect_tune.engine.experiment import Experiment
from prefect_tune.experiment.plain import finite_number, strict_json_value
from prefect_tune.experiment.trial import AUTO_FILLED, ERROR, Trial
from prefect_tune.nested import flatten
from prefect_tune.orchestration.record.sanitize import show_value
from prefect_tune.reporters.progress import Progress

_LARGEST = 2**63 - 1


class SweepResult(BaseModel):
    """What a sweep has found.

    It is the result of `tune_experiment`'s flow runs, of which nothing else is persisted, and with
    a status the payload of a sweep's events.

    Attributes:
        experiment: Name of the experiment.
        directory: The experiment's directory, as a path or URL.
        metric: What the trials were ranked by.
        mode: ``min`` or ``max``.
        best_trial: Name of the best trial; None if no trial has a value of the metric.
        best_value: Its last value of the metric, with all digits.
        best_config: Its whole configuration, constants included.
        best_metrics: Its last result, nested metrics with ``/`` in their names.
        checkpoint: Path or URL of its newest checkpoint; None if it has none.
        trials: How many trials there are.
        failed: How many of them failed.
        counts: How many trials have each status.
        flow_run_id: Id of the flow run.
    """

    model_config = ConfigDict(frozen=True)

    experiment: str
    directory: str
    metric: str | None = None
    mode: str | None = None
    best_trial: str | None = None
    best_value: float | None = None
    best_config: dict[str, Any] = {}
    best_metrics: dict[str, Any] = {}
    checkpoint: str | None = None
    trials: int = 0
    failed: int = 0
    counts: dict[str, int] = {}
    flow_run_id: str | None = None


def sweep_result(experiment: Experiment, progress: Progress, flow_run_id: str) -> SweepResult:
    """Sum up an experiment.

    Args:
        experiment: The experiment.
        progress: Has seen its trials.
        flow_run_id: Id of the flow run that it is recorded in.
    """
    place = str(experiment.storage.location or experiment.directory.path)
    counts = progress.counts()
    result = SweepResult(
        experiment=experiment.plan.name,
        directory=place,
        metric=progress.metric,
        mode=progress.mode,
        trials=sum(counts.values()),
        failed=counts.get(ERROR, 0),
        counts=counts,
        flow_run_id=flow_run_id,
    )
    best = progress.best
    if best is None:
        return result
    return result.model_copy(
        update={
            "best_trial": str(best.trial),
            "best_value": finite_number(best.value),
            "best_config": api_value(best.trial.config),
            "best_metrics": _metrics(best.trial),
            "checkpoint": _checkpoint(best.trial, place),
        }
    )


def api_value(value: Any) -> Any:
    """Copy a value into what a Prefect server accepts; anything else becomes text."""
    # A server takes integers of 64 bits, and neither NaN nor infinity.
    return strict_json_value(value, show_value, _LARGEST)


def _metrics(trial: Trial) -> dict[str, Any]:
    flat = flatten(trial.last_result)
    kept = {k: v for k, v in flat.items() if k not in AUTO_FILLED and k[:7] != "config/"}
    metrics: dict[str, Any] = api_value(kept)
    return metrics


def _checkpoint(trial: Trial, place: str) -> str | None:
    newest = newest_usable(trial.checkpoints)
    if newest is None or newest.path.startswith("/") or "://" in newest.path:
        return None if newest is None else newest.path
    return f"{place}/{newest.path}"
