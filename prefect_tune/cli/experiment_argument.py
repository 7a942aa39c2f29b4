"""Arguments for an experiment and its metric, and opening the experiment."""

from __future__ import annotations

import argparse
import os

from prefect_tune.cli.commands import UsageError
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.json import PARAMS_FILE
from prefect_tune.result import DEFAULT_METRIC
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.ranking import flat_row
from prefect_tune.results.read_trials import is_experiment


def not_an_experiment(place: str) -> str:
    """Return an error message for a path or URL without trials, with a proposal.

    Args:
        place: The path or URL.
    """
    if os.path.isfile(place):
        return f"{place} is a file; give the directory of an experiment"
    if os.path.isfile(os.path.join(place, PARAMS_FILE)):
        parent = os.path.dirname(os.path.abspath(place))
        return f"{place} is the directory of a trial; its experiment is {parent}"
    if os.path.isdir(place):
        entries = (entry for entry in os.scandir(place) if entry.is_dir())
        within = (entry.name for entry in entries if is_experiment(entry.path))
        first = min(within, default=None)
        if first is not None:
            return f"{place} holds experiments; give one of them: {os.path.join(place, first)}"
    return (
        f"there are no trials in {place}; `prefect-tune list-experiments DIR` lists the "
        "experiments in a directory"
    )


def check_local(option: str, place: str) -> None:
    """Check that an argument is not a URL.

    Args:
        option: Name of the argument on the command line.
        place: The argument's value.

    Raises:
        UsageError: If `place` is a URL.
    """
    if "://" in place:
        raise UsageError(option, f"{place} is a URL; give a directory on this machine")


_NOT_OBJECTIVES = ("training_iteration", "time_total_s")


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the experiment."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="directory of the experiment, or its URL"
    )


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Add the options for the metric and mode to compare trials by."""
    parser.add_argument("--metric", help="metric to compare trials by (default: the experiment's)")
    parser.add_argument(
        "--mode", choices=("min", "max"), help="which values are better (default: the experiment's)"
    )


def add_output_format(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses between text and JSON."""
    parser.add_argument(
        "--output",
        "-o",
        choices=("text", "json"),
        default="text",
        help="output format (default: text)",
    )


def open_experiment(arguments: argparse.Namespace) -> ExperimentAnalysis:
    """Open the experiment that the command line names.

    Raises:
        UsageError: If the path or URL is wrong, or the experiment has no trials.
        StorageError: If the experiment cannot be read.
    """
    place = os.path.expanduser(arguments.experiment)
    directory = os.path.dirname(os.path.abspath(place)) if os.path.isfile(place) else place
    if os.path.exists(place) and not is_experiment(directory):
        raise UsageError("EXPERIMENT", not_an_experiment(place))
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
    """Return metric and mode from the command line, or the experiment's.

    Returns:
        Both; None if the command line has neither and the experiment does not have both.

    Raises:
        UsageError: If no trial reported the given metric, or only one of metric and mode is known.
    """
    if arguments.metric is None and arguments.mode is None:
        metric, mode = _own_objective(analysis)
        return None if metric is None or mode is None else (metric, mode)
    return require_objective(analysis, arguments)


def require_objective(
    analysis: ExperimentAnalysis, arguments: argparse.Namespace
) -> tuple[str, str]:
    """Return metric and mode from the command line, or the experiment's.

    Raises:
        UsageError: If metric or mode is not known, or no trial reported the given metric.
    """
    metric, mode = _own_objective(analysis)
    known = numeric_metrics(analysis.trials)
    reported = f"trials have reported {', '.join(known) or 'no number so far'}"
    # Only a metric from the command line is checked: trials may not yet have reported their own.
    if arguments.metric is not None:
        metric = arguments.metric
        if metric not in (*known, *_NOT_OBJECTIVES):
            raise UsageError("--metric", f"no trial has reported {metric!r}; {reported}")
    mode = arguments.mode or mode
    if metric is None:
        raise UsageError(
            "--metric", f"it is missing, and the experiment has none or several; {reported}"
        )
    if mode is None:
        raise UsageError("--mode", f"it is missing: say whether the best {metric} is min or max")
    return metric, mode


def _own_objective(analysis: ExperimentAnalysis) -> tuple[str | None, str | None]:
    metric, mode = analysis.default_metric, analysis.default_mode
    if metric is None and DEFAULT_METRIC in numeric_metrics(analysis.trials):
        metric = DEFAULT_METRIC
    return metric, mode


def numeric_metrics(trials: list[Trial]) -> list[str]:
    """Return the names of the numbers that the trainable reported."""
    names = dict.fromkeys(name for trial in trials for name in trial.metric_analysis)
    return [name for name in names if name not in _NOT_OBJECTIVES]


def trial_row(trial: Trial) -> dict[str, object]:
    """Return a trial's values for all columns of tables, by name."""
    return {
        **flat_row(trial),
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
