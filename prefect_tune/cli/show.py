"""``prefect-tune show``: show an experiment or one of its trials."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from prefect_tune.cli.commands import EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import (
    add_experiment,
    add_objective,
    add_output_format,
    choose_objective,
    open_experiment,
)
from prefect_tune.cli.table import write_json
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten_config
from prefect_tune.reporters.console import write_text
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.facts import experiment_facts
from prefect_tune.text import in_words

_MOST_ERRORS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment(parser)
    parser.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="id or name of a trial, or the beginning of it"
    )
    add_objective(parser)
    add_output_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the experiment or the trial."""
    analysis = open_experiment(arguments)
    if arguments.trial is not None:
        trial = _find_trial(analysis, arguments.trial)
        if arguments.output == "json":
            write_json(trial_as_dict(analysis, trial), sys.stdout)
        else:
            print_trial(analysis, trial, analysis.default_metric)
        return EXIT_OK
    objective = choose_objective(analysis, arguments)
    if arguments.output == "text":
        _print_experiment(analysis)
    best = None if objective is None else analysis.get_best_trial(*objective)
    if arguments.output == "json":
        about = {
            "path": analysis.experiment_path,
            **analysis.stats(),
            "run": analysis.runner_data(),
            "best": None if best is None else trial_as_dict(analysis, best),
        }
        write_json(about, sys.stdout)
    elif best is not None and objective is not None:
        write_text(f"\nBest by {objective[0]} ({objective[1]})")
        print_trial(analysis, best, objective[0])
    return EXIT_OK


def _find_trial(analysis: ExperimentAnalysis, name: str) -> Trial:
    exact = [t for t in analysis.trials if name in (t.trial_id, str(t), t.relative_logdir)]
    found = exact or [
        t for t in analysis.trials if t.trial_id.startswith(name) or str(t).startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(str(trial) for trial in found[:5])
        raise UsageError("TRIAL", f"{name!r} could be any of {len(found)}: {some} …")
    raise UsageError("TRIAL", f"there is no trial {name!r}; `prefect-tune list-trials` lists them")


def _print_experiment(analysis: ExperimentAnalysis) -> None:
    stats = analysis.stats()
    statuses = ", ".join(f"{count} {status}" for status, count in stats["status"].items())
    facts = {
        "trials": f"{stats['trials']} ({statuses})",
        "results": str(stats["results"]),
        **experiment_facts(analysis),
    }
    for name, value in facts.items():
        write_text(f"{name:<12}{value}")
    failed = [trial for trial in analysis.trials if trial.status == ERROR]
    for trial in failed[:_MOST_ERRORS]:
        write_text(f"failed      {trial}: {trial.error}")
    if len(failed) > _MOST_ERRORS:
        write_text(f"            and {len(failed) - _MOST_ERRORS} more")


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
