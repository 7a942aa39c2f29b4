"""``prefect-tune show``: an experiment or one of its trials."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from typing import Any

from prefect_tune.commands import EXIT_OK, UsageError
from prefect_tune.commands.details import print_trial, trial_as_dict
from prefect_tune.commands.experiment import (
    add_experiment,
    add_objective,
    choose_objective,
    open_experiment,
)
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.results.analysis import ExperimentAnalysis

_MOST_ERRORS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_experiment(parser)
    parser.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="id or name of a trial, or the beginning of it"
    )
    add_objective(parser)
    parser.add_argument(
        "--output", "-o", choices=("text", "json"), default="text", help="how to print it (text)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the experiment or the trial."""
    analysis = open_experiment(arguments)
    if arguments.trial is not None:
        trial = _find(analysis, arguments.trial)
        if arguments.output == "json":
            print(json.dumps(trial_as_dict(analysis, trial), indent=1, default=str))
        else:
            print_trial(analysis, trial)
        return EXIT_OK
    objective = choose_objective(analysis, arguments)
    best = None if objective is None else analysis.get_best_trial(*objective)
    if arguments.output == "json":
        about = {
            "path": analysis.experiment_path,
            **analysis.stats(),
            "run": analysis.runner_data(),
            "best": None if best is None else trial_as_dict(analysis, best),
        }
        print(json.dumps(about, indent=1, default=str))
        return EXIT_OK
    _print_experiment(analysis)
    if best is not None and objective is not None:
        print(f"\nBest by {objective[0]} ({objective[1]})")
        print_trial(analysis, best, objective[0])
    return EXIT_OK


def _find(analysis: ExperimentAnalysis, name: str) -> Trial:
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
    stats, run = analysis.stats(), analysis.runner_data()
    statuses = ", ".join(f"{count} {status}" for status, count in stats["status"].items())
    facts: dict[str, Any] = {
        "directory": analysis.experiment_path,
        "trials": f"{stats['trials']} ({statuses})",
        "results": stats["results"],
        "started": _when(stats["start_time"]),
        "last result": _when(stats["timestamp"]),
        "trial time": f"{stats['trial_time_s']:.1f} s",
        "trainable": run.get("trainable"),
        "search": run.get("search"),
        "scheduler": run.get("scheduler"),
        "stop": run.get("stop") if run.get("stop") != "None" else None,
    }
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name:<12}{value}")
    failed = [trial for trial in analysis.trials if trial.status == ERROR]
    for trial in failed[:_MOST_ERRORS]:
        print(f"failed      {trial}: {trial.error}")
    if len(failed) > _MOST_ERRORS:
        print(f"            and {len(failed) - _MOST_ERRORS} more")


def _when(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")
