"""Opening the experiment that a command is about."""

from __future__ import annotations

import argparse
import os

from prefect_tune.commands import UsageError
from prefect_tune.commands.mistaken import not_an_experiment
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.pareto import row_of
from prefect_tune.trainable.metrics import DEFAULT_METRIC

_NOT_OBJECTIVES = ("training_iteration", "time_total_s")


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the experiment."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="directory of the experiment, or its URL"
    )


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is best."""
    parser.add_argument("--metric", help="what to compare trials by; default: the experiment's own")
    parser.add_argument("--mode", choices=("min", "max"), help="default: the experiment's own")


def open_experiment(arguments: argparse.Namespace) -> ExperimentAnalysis:
    """Read the experiment that the command line names.

    Raises:
        UsageError: If it is not named properly or has no trials.
        StorageError: If it cannot be read.
    """
    place = os.path.expanduser(arguments.experiment)
    try:
        analysis = ExperimentAnalysis(place)
    except InvalidArgument as error:
        raise UsageError("EXPERIMENT", f"{error.problem} {error.hint}") from error
    if not analysis.trials:
        raise UsageError("EXPERIMENT", not_an_experiment(place))
    return analysis


def choose_objective(
    analysis: ExperimentAnalysis, arguments: argparse.Namespace
) -> tuple[str, str] | None:
    """Metric and mode from the command line, or the experiment's own; None if there is neither.

    Raises:
        UsageError: If no trial reported the metric, or only one of both is known.
    """
    metric = arguments.metric or analysis.default_metric
    mode = arguments.mode or analysis.default_mode
    if metric is None and mode is None:
        return None
    known = numeric_metrics(analysis.trials)
    if metric is None and DEFAULT_METRIC in known:
        metric = DEFAULT_METRIC
    if metric is None:
        raise UsageError("--metric", f"it is missing; trials reported {', '.join(known)}")
    if metric not in known and metric not in _NOT_OBJECTIVES:
        raise UsageError(
            "--metric", f"no trial reported {metric!r}; they reported {', '.join(known)}"
        )
    if mode is None:
        raise UsageError("--mode", f"it is missing: is the best {metric} the min or the max?")
    return metric, mode


def numeric_metrics(trials: list[Trial]) -> list[str]:
    """The numbers that the trainable itself reported."""
    names = dict.fromkeys(name for trial in trials for name in trial.metric_analysis)
    return [name for name in names if name not in _NOT_OBJECTIVES]


def trial_row(trial: Trial) -> dict[str, object]:
    """Everything about a trial that can be a column."""
    return {
        **row_of(trial),
        "trainable_name": trial.trainable_name,
        "experiment_tag": trial.experiment_tag,
        "trial_id": trial.trial_id,
        "status": trial.status,
        "name": str(trial),
        "logdir": trial.logdir,
        "num_failures": trial.num_failures,
        "start_time": trial.start_time,
        "last_update_time": trial.last_update_time,
        "error": None if trial.error is None else str(trial.error),
    }
