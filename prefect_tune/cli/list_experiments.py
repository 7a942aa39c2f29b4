"""``prefect-tune list-experiments``: list the experiments in a directory."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from datetime import datetime
from typing import Any

from prefect_tune.cli.commands import EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import check_local
from prefect_tune.cli.table import add_table_options, check_columns, names_in, show_table
from prefect_tune.error import StorageError
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED
from prefect_tune.logger.json import PARAMS_FILE, RESULT_FILE
from prefect_tune.results.journal_summary import read_record
from prefect_tune.results.read_trials import is_experiment
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.layout import default_root

_STATUSES = (RUNNING, PENDING, PAUSED, TERMINATED, ERROR)
_COLUMNS = ("name", "total_trials", "last_updated", *(s.lower() for s in _STATUSES), "trainable")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "directory",
        metavar="DIRECTORY",
        nargs="?",
        default=None,
        help="directory of experiments (default: TUNE_RESULT_DIR or ~/prefect_tune_results)",
    )
    add_table_options(parser)
    parser.add_argument(
        "--columns", metavar="COLUMNS", help=f"columns in order (default: {','.join(_COLUMNS)})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table of experiments, or write it to a file."""
    directory = os.path.expanduser(
        arguments.directory or default_root(os.environ.get("TUNE_RESULT_DIR"))
    )
    check_local("DIRECTORY", directory)
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    except OSError as error:
        raise UsageError("DIRECTORY", f"cannot read {directory}: {error.strerror}") from error
    rows = [row for name in names if (row := _row(os.path.join(directory, name))) is not None]
    if not rows and is_experiment(directory):
        problem = f"{directory} is an experiment; `prefect-tune list-trials` lists its trials"
        raise UsageError("DIRECTORY", problem)
    if not rows:
        raise UsageError("DIRECTORY", f"there are no experiments in {directory}")
    columns = names_in(arguments.columns)
    check_columns("--columns", columns or (), _COLUMNS)
    show_table(rows, columns or _COLUMNS, columns is not None, arguments)
    return EXIT_OK


def _row(path: str) -> dict[str, Any] | None:
    """Return an experiment's row without reading results; None if there is no experiment."""
    try:
        record = read_record(path)
    except StorageError:
        record = None  # written by a newer version; trials can be counted even so
    row: dict[str, Any] = {"name": os.path.basename(path)}
    if record is not None:
        counts = Counter(trial.status for trial in record.trials)
        row |= {status.lower(): counts.get(status) for status in _STATUSES}
        row |= {"total_trials": len(record.trials), "trainable": record.header.trainable}
        updated = os.path.getmtime(os.path.join(path, JOURNAL_FILE))
    else:
        times = _trial_times(path)
        if not times:
            return None
        row["total_trials"] = len(times)
        updated = max(times)
    row["last_updated"] = datetime.fromtimestamp(updated).strftime("%Y-%m-%d %H:%M:%S")
    return row


def _trial_times(path: str) -> list[float]:
    """Return for each trial when its files were last written."""
    times = []
    try:
        for entry in os.scandir(path):
            files = [os.path.join(entry.path, name) for name in (RESULT_FILE, PARAMS_FILE)]
            written = [os.path.getmtime(file) for file in files if os.path.isfile(file)]
            if written:
                times.append(max(written))
    except OSError:
        return []
    return times
