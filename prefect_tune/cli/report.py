"""``prefect-tune report``: write an HTML report of an experiment into one file."""

from __future__ import annotations

import argparse
import os

from prefect_tune.cli.commands import EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import (
    add_experiment,
    add_objective,
    choose_objective,
    open_experiment,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment(parser)
    add_objective(parser)
    parser.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        help="file to write (default: report.html in the experiment)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the report and print its path."""
    from prefect_tune.results.report import write_report

    analysis = open_experiment(arguments)
    objective = choose_objective(analysis, arguments)
    path = arguments.output
    if path is None:
        is_url = "://" in analysis.experiment_path
        path = os.path.join("." if is_url else analysis.experiment_path, "report.html")
    path = os.path.abspath(os.path.expanduser(path))
    try:
        write_report(analysis, path, objective)
    except OSError as error:
        raise UsageError("--output", f"cannot write {path}: {error.strerror}") from error
    print(f"Wrote {path}")
    if objective is None:
        print("The report has no best trial: choose a metric with --metric and --mode.")
    return EXIT_OK
