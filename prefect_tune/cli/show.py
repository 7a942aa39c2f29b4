"""``prefect-tune show``: show an experiment or one of its trials."""

from __future__ import annotations

import argparse
import sys

from prefect_tune.cli.commands import EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import (
    add_experiment,
    add_objective,
    choose_objective,
    open_experiment,
)
from prefect_tune.cli.strict_json import write_json
from prefect_tune.cli.trial_details import print_trial, trial_as_dict
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.reporters.console import write_text
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.facts import experiment_facts

_MOST_ERRORS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment(parser)
    parser.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="id or name of a trial, or the beginning of it"
    )
    add_objective(parser)
    parser.add_argument(
        "--output", "-o", choices=("text", "json"), default="text", help="output format (text)"
    )


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
