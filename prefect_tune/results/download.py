"""Copy the result files of an experiment from storage to this machine."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from prefect_tune.checkpoint.manifest import MARKER
from prefect_tune.error import StorageError
from prefect_tune.experiment.attempt import ERROR_FILE, ERROR_PICKLE_FILE
from prefect_tune.experiment.pickling.large import DIRECTORY
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.filesystem.store import open_store
from prefect_tune.logger.csv import PROGRESS_FILE
from prefect_tune.logger.json import PARAMS_FILE, RESULT_FILE
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.remote import read_remote

# The analysis reads only the manifest of a checkpoint, so its other files are not copied.
_WANTED = re.compile(
    rf"{re.escape(JOURNAL_FILE)}"
    rf"|{re.escape(DIRECTORY)}/[^/]+"
    rf"|[^/]+/({'|'.join(map(re.escape, (PARAMS_FILE, RESULT_FILE, PROGRESS_FILE)))}"
    rf"|{re.escape(ERROR_FILE)}|{re.escape(ERROR_PICKLE_FILE)}|[^/]+/{re.escape(MARKER)})"
)


def copy_results(location: Location) -> tempfile.TemporaryDirectory[str]:
    """Copy the result files of all trials from storage into a temporary directory.

    Args:
        location: An experiment directory in storage.

    Returns:
        The temporary directory, with the experiment directory in it; it is removed with the
        returned object.

    Raises:
        StorageError: If there are no trials or the storage fails.
    """
    store = open_store(location, FOREGROUND)
    copy = tempfile.TemporaryDirectory(prefix="prefect_tune-results-")
    directory = Path(copy.name, os.path.basename(location.url.rstrip("/")) or "experiment")
    try:
        store.get_tree("", directory, lambda name, size: _WANTED.fullmatch(name) is not None)
        if not any(directory.iterdir()):
            raise StorageError(f"there are no results of an experiment in {location}.")
        journal = read_remote(store).data
        if journal:  # otherwise get_tree has copied it: a plain copy has it as one file
            (directory / JOURNAL_FILE).write_bytes(journal)
    except BaseException:
        copy.cleanup()
        raise
    return copy
