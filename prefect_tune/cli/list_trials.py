"""``prefect-tune list-trials``: list the trials of an experiment."""

from __future__ import annotations

import argparse

from prefect_tune.cli.commands import EXIT_OK
from prefect_tune.cli.experiment_argument import (
    add_experiment,
    numeric_metrics,
    open_experiment,
    trial_row,
)
from prefect_tune.cli.table import add_table_options, check_columns, names_in, show_table

_INFO = ("trainable_name", "experiment_tag", "trial_id", "status")
_RESULTS = (
    "training_iteration",
    "time_total_s",
    "timesteps_total",
    "mean_accuracy",
    "mean_loss",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment(parser)
    add_table_options(parser)
    parser.add_argument(
        "--columns",
        metavar="COLUMNS",
        help=f"columns, separated by commas (default: {','.join(_INFO)})",
    )
    parser.add_argument(
        "--result-columns",
        metavar="COLUMNS",
        help="further columns, mostly of the last result "
        f"(default: {','.join(_RESULTS)}, all config/... and all reported metrics)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table of trials, or write it to a file."""
    analysis = open_experiment(arguments)
    rows = [trial_row(trial) for trial in analysis.trials]
    known = list(dict.fromkeys([*_INFO, *_RESULTS, *(name for row in rows for name in row)]))
    columns, results = names_in(arguments.columns), names_in(arguments.result_columns)
    check_columns("--columns", columns or (), known)
    check_columns("--result-columns", results or (), known)
    if columns is None and results is None:
        searched = dict.fromkeys(f"config/{n}" for t in analysis.trials for n in t.evaluated_params)
        config = (name for name in known if name.startswith("config/"))
        reported = numeric_metrics(analysis.trials)
        # On a narrow terminal only the first columns are shown: the metric and the searched
        # parameters come before the other parameters, which are the same for all trials.
        compared = [name for name in reported if name == analysis.default_metric]
        chosen = [*_INFO, *compared, *_RESULTS, *reported, *searched, *config]
        show_table(rows, list(dict.fromkeys(chosen)), False, arguments)
    else:
        info = _INFO[:3] if columns is None else columns
        show_table(rows, list(dict.fromkeys([*info, *(results or ())])), True, arguments)
    return EXIT_OK
