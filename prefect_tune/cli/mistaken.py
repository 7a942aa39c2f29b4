"""What a path is that is not what a command is about."""

from __future__ import annotations

import os

from prefect_tune.cli.commands import UsageError
from prefect_tune.logger.json import PARAMS_FILE
from prefect_tune.storage.journal.file import JOURNAL_FILE


def is_experiment(path: str) -> bool:
    """True if there is the journal of an experiment in a local directory."""
    return os.path.isfile(os.path.join(path, JOURNAL_FILE))


def not_an_experiment(place: str) -> str:
    """Say why a place without trials is no experiment, and what to give instead.

    Args:
        place: A path or URL.
    """
    if os.path.isfile(place):
        return f"{place} is a file; give the directory of an experiment"
    if os.path.isfile(os.path.join(place, PARAMS_FILE)):
        parent = os.path.dirname(os.path.abspath(place))
        return f"{place} is the directory of a trial; its experiment is {parent}"
    if os.path.isdir(place):
        within = (entry.name for entry in os.scandir(place) if is_experiment(entry.path))
        first = min(within, default=None)
        if first is not None:
            return f"{place} holds experiments; give one of them: {os.path.join(place, first)}"
    return (
        f"there are no trials in {place}; `prefect-tune list-experiments DIR` lists the "
        "experiments in a directory"
    )


def check_local(option: str, place: str) -> None:
    """Refuse a URL where only a directory of this machine will do.

    Args:
        option: What the command line calls it.
        place: What was given.

    Raises:
        UsageError: If it is a URL.
    """
    if "://" in place:
        raise UsageError(option, f"{place} is a URL; it has to be a directory on this machine")
