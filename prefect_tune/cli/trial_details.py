"""Print one trial in full, or return it for JSON output."""

from __future__ import annotations

from typing import Any

from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten_config
from prefect_tune.reporters.console import write_text
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.text import in_words

_TIMES = ("training_iteration", "time_total_s")


def trial_as_dict(analysis: ExperimentAnalysis, trial: Trial) -> dict[str, Any]:
    """Return a trial as a dict for JSON output."""
    return {
        "trial_id": trial.trial_id,
        "name": str(trial),
        "status": trial.status,
        "config": trial.config,
        "metrics": {key: value for key, value in trial.last_result.items() if key != "config"},
        "checkpoints": [path for path, _ in analysis.get_trial_checkpoints_paths(trial)],
        "logdir": trial.logdir,
        "error": trial.error_msg if trial.status == ERROR else None,
    }


def print_trial(analysis: ExperimentAnalysis, trial: Trial, metric: str | None = None) -> None:
    """Print a trial's metrics, configuration, checkpoints, directory and error.

    Args:
        analysis: The trial's experiment.
        trial: The trial.
        metric: The metric to put first.
    """
    write_text(f"{trial}  {trial.status}")
    metrics = trial.metric_analysis
    names = dict.fromkeys([*([metric] if metric else []), *metrics, *_TIMES])
    _section(
        "metrics",
        {
            name: f"{_short(metrics[name]['last'])}   (min {_short(metrics[name]['min'])}, "
            f"max {_short(metrics[name]['max'])})"
            if name not in _TIMES
            else _short(metrics[name]["last"])
            for name in names
            if name in metrics
        },
    )
    _section("configuration", flatten_config(trial.config))
    paths = [path for path, _ in analysis.get_trial_checkpoints_paths(trial)]
    if paths:
        _section("checkpoints", {str(number): path for number, path in enumerate(paths, 1)})
    write_text(f"directory\n  {trial.logdir}")
    if trial.status == ERROR:
        write_text("error")
        for line in (trial.error_msg or "not known").splitlines():
            write_text(f"  {line}")


def _section(title: str, values: dict[str, Any]) -> None:
    if not values:
        return
    write_text(title)
    width = max(map(len, values))
    for name, value in values.items():
        write_text(f"  {name:<{width}}  {in_words(value)}")


def _short(value: float) -> str:
    return f"{value:.6g}"
