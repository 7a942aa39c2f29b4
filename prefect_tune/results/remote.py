"""The result files of an experiment in storage, copied here to be read."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from prefect_tune.checkpoint.manifest import MARKER
from prefect_tune.error import StorageError
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.logger.csv import PROGRESS_FILE
from prefect_tune.logger.json import PARAMS_FILE, RESULT_FILE
from prefect_tune.results.frames import decode_result
from prefect_tune.results.loading import ERROR_PICKLE, ERROR_TEXT
from prefect_tune.storage.remote_journal import read_remote

# Of checkpoints only the list of their files is needed.
_WANTED = re.compile(
    rf"[^/]+/({'|'.join(map(re.escape, (PARAMS_FILE, RESULT_FILE, PROGRESS_FILE)))}"
    rf"|{re.escape(ERROR_TEXT)}|{re.escape(ERROR_PICKLE)}|[^/]+/{re.escape(MARKER)})"
)


def copy_results(location: Location) -> tempfile.TemporaryDirectory[str]:
    """Copy the results of all trials here.

    Args:
        location: An experiment directory in storage.

    Returns:
        A directory that looks like the experiment's as far as results go; it is removed with the
        returned object.

    Raises:
        StorageError: If there are no trials or the storage fails.
    """
    store = open_store(location)
    copy = tempfile.TemporaryDirectory(prefix="prefect_tune-results-")
    directory = Path(copy.name, os.path.basename(location.url.rstrip("/")) or "experiment")
    try:
        store.get_tree("", directory, lambda name, size: _WANTED.fullmatch(name) is not None)
        if not any(directory.iterdir()):
            raise StorageError(f"there are no results of an experiment in {location}.")
        _restore_failure_times(store, directory)
    except BaseException:
        copy.cleanup()
        raise
    return copy


def directory_of(copy: tempfile.TemporaryDirectory[str]) -> str:
    """The directory of the experiment in a copy."""
    return str(next(Path(copy.name).iterdir()))


def _restore_failure_times(store: Store, directory: Path) -> None:
    """Give each failure's text the time of the failure: later results mean that a retry went on."""
    failed = list(directory.glob(f"*/{ERROR_TEXT}"))
    if not failed:
        return
    times = dict(_failures(read_remote(store).data))
    for path in failed:
        time = times.get(_trial_id(path.parent))
        if time is not None:
            os.utime(path, (time, time))


def _failures(journal: bytes) -> Iterator[tuple[str, float]]:
    for line in journal.splitlines():
        if b'"event":"AttemptEnded"' in line[:40]:
            record = orjson.loads(line[9:])
            if record.get("error") is not None:
                yield record["trial_id"], record["time"]


def _trial_id(directory: Path) -> str:
    """The id of a trial that has reported, "" if it has not."""
    try:
        lines = (directory / RESULT_FILE).read_bytes().splitlines()
    except OSError:
        return ""
    result = decode_result(lines[-1]) if lines else None
    return str((result or {}).get("trial_id", ""))
