"""``prefect-tune best``: the best trial of an experiment."""

from __future__ import annotations

import argparse
import json

from prefect_tune.commands import EXIT_FAILURE, EXIT_OK, UsageError
from prefect_tune.commands.details import print_trial, trial_as_dict
from prefect_tune.commands.experiment import (
    add_experiment,
    add_objective,
    choose_objective,
    numeric_metrics,
    open_experiment,
)
from prefect_tune.error import InvalidArgument
from prefect_tune.results.ranking import SCOPES


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_experiment(parser)
    add_objective(parser)
    parser.add_argument("--scope", choices=SCOPES, default="last", help="results to compare (last)")
    parser.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="CONDITION",
        help='only trials for which it holds, e.g. "latency <= 20"; may be given several times',
    )
    parser.add_argument(
        "--output", "-o", choices=("text", "json"), default="text", help="how to print it (text)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the best trial."""
    analysis = open_experiment(arguments)
    objective = choose_objective(analysis, arguments)
    if objective is None:
        known = ", ".join(numeric_metrics(analysis.trials))
        raise UsageError("--metric", f"the experiment has none; its trials reported {known}")
    metric, mode = objective
    try:
        best = analysis.get_best_trial(
            metric, mode, arguments.scope, constraints=arguments.constraint
        )
    except InvalidArgument as error:
        raise UsageError("--constraint", f"{error.problem} {error.hint}") from error
    if best is None:
        return EXIT_FAILURE  # the warning has said why
    if arguments.output == "json":
        print(json.dumps(trial_as_dict(analysis, best), indent=1, default=str))
    else:
        print(f"Best of {len(analysis.trials)} trials by {metric} ({mode}, {arguments.scope}):\n")
        print_trial(analysis, best, metric)
    return EXIT_OK
