"""Makes the result of a sweep for Prefect: small, typed, and with JSON values only."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.experiment.plain import finite_number, strict_json_value
from prefect_tune.experiment.trial import AUTO_FILLED, ERROR, Trial
from prefect_tune.nested import flatten
from prefect_tune.orchestration.record.texts import show_value
from prefect_tune.reporters.progress import SweepProgress

_LARGEST = 2**63 - 1


class SweepResult(BaseModel):
    """Result of a sweep.

    It is the result of `tune_experiment`'s flow runs, of which nothing else is persisted, and with
    a status the payload of a sweep's events.

    Attributes:
        experiment: Name of the experiment.
        directory: The experiment's directory, as a path or URL.
        metric: The metric by which trials are ranked.
        mode: ``min`` or ``max``.
        best_trial: Name of the best trial; None if no trial has a value of the metric.
        best_value: The best trial's last value of the metric, with all digits.
        best_config: The best trial's whole configuration, with constants.
        best_metrics: The best trial's last result, with ``/`` in the names of nested metrics.
        checkpoint: Path or URL of the best trial's newest checkpoint; None if it has none.
        trials: Number of trials.
        failed: Number of failed trials.
        counts: Number of trials by status.
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


def sweep_result(
    experiment: RunningExperiment, progress: SweepProgress, flow_run_id: str
) -> SweepResult:
    """Return the result of an experiment.

    Args:
        experiment: The experiment.
        progress: Progress of the experiment, up to date.
        flow_run_id: Id of the experiment's flow run.
    """
    place = str(experiment.storage.location or experiment.directory.path)
    counts = progress.counts()
    result = SweepResult(
        experiment=experiment.setup.name,
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
    flat = flatten(best.trial.last_result)
    metrics = {k: v for k, v in flat.items() if k not in AUTO_FILLED and k[:7] != "config/"}
    return result.model_copy(
        update={
            "best_trial": str(best.trial),
            "best_value": finite_number(best.value),
            "best_config": api_value(best.trial.config),
            "best_metrics": api_value(metrics),
            "checkpoint": _checkpoint(best.trial, place),
        }
    )


def api_value(value: Any) -> Any:
    """Copy a value in a form that a Prefect server accepts; other objects become text."""
    # A server accepts integers of 64 bits, and neither NaN nor infinity.
    return strict_json_value(value, show_value, _LARGEST)


def _checkpoint(trial: Trial, place: str) -> str | None:
    newest = trial.newest_checkpoint
    if newest is None or newest.path.startswith("/") or "://" in newest.path:
        return None if newest is None else newest.path
    return f"{place}/{newest.path}"
