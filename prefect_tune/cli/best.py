"""``prefect-tune best``: show the best trial of an experiment."""

from __future__ import annotations

import argparse
import sys

from prefect_tune.cli.commands import EXIT_FAILURE, EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import (
    add_experiment,
    add_objective,
    add_output_format,
    open_experiment,
    require_objective,
)
from prefect_tune.cli.show import print_trial, trial_as_dict
from prefect_tune.cli.table import write_json
from prefect_tune.error import InvalidArgument
from prefect_tune.reporters.console import write_text
from prefect_tune.results.ranking import SCOPES


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment(parser)
    add_objective(parser)
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default="last",
        help="results of each trial to compare (default: last)",
    )
    parser.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="CONDITION",
        help='only trials that fulfil this, e.g. "latency <= 20"; may be given several times',
    )
    add_output_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the best trial."""
    analysis = open_experiment(arguments)
    metric, mode = require_objective(analysis, arguments)
    try:
        best = analysis.get_best_trial(
            metric, mode, arguments.scope, constraints=arguments.constraint
        )
    except InvalidArgument as error:
        raise UsageError("--constraint", f"{error.problem} {error.hint}") from error
    if best is None:
        return EXIT_FAILURE  # get_best_trial has logged a warning
    if arguments.output == "json":
        write_json(trial_as_dict(analysis, best), sys.stdout)
    else:
        write_text(
            f"Best of {len(analysis.trials)} trials by {metric} ({mode}, {arguments.scope}):\n"
        )
        print_trial(analysis, best, metric)
    return EXIT_OK
