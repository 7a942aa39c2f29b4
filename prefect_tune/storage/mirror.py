"""Copies results, logs, states and error files of the experiment directory to storage."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.fetch import UploadMark, changed_at, is_mirrored
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE

log = logging.getLogger(__name__)

_BATCH = 64
_BATCH_BYTES = 64 * 2**20
_SNAPSHOTS = (SNAPSHOT_FILE, TRIALS_FILE)
_Stamp = tuple[int, int]


class ChangedFiles:
    """Uploads the files of a directory that have changed since the last upload.

    Args:
        directory: The experiment directory.
        store: The experiment directory in storage.
        journal_is_safe: Called before files at the top, such as saved states, are uploaded; waits
            until storage has the journal, because no state in storage may be newer than
            its journal. On False the files wait for the next upload.
        compare: Do not send files of trials again that storage has with the same size, and that
            have not changed since the last complete upload: for a run that continues an
            experiment.
    """

    def __init__(
        self,
        directory: Path,
        store: Store,
        journal_is_safe: Callable[[], bool] = lambda: True,
        compare: bool = False,
    ) -> None:
        self._directory = directory
        self._store = store
        self._journal_is_safe = journal_is_safe
        self._compare = compare
        self._mark = UploadMark(directory, store.location.url)
        self._sent: dict[str, _Stamp] = {}

    def __call__(self, on_progress: Callable[[], None] = lambda: None) -> None:
        """Upload the files that have changed since the last call."""
        self._mark.begin()
        if self._compare:
            self._assume_sent()
            self._compare = False
        stamps = {name: _stamp(status) for name, status in _files(self._directory)}
        changed = {name: stamp for name, stamp in stamps.items() if self._sent.get(name) != stamp}
        states, problems = self._read_states(changed)
        snapshots = {name: states.pop(name) for name in _SNAPSHOTS if name in states}
        problems += self._send_states(states, changed)
        trials = [name for name in changed if "/" in name]
        refused: list[str] = []
        for batch in _batches(trials, changed):
            refused += self._send(batch, changed)
            on_progress()
        if not refused:
            # A resume from a snapshot does not log earlier results again: result files come first.
            problems += self._send_states(snapshots, changed)
        problems += refused
        if problems:
            more = f" ({len(problems)} files were not copied)" if len(problems) > 1 else ""
            raise StorageError(f"{problems[0]}{more}")
        self._mark.complete()

    def _assume_sent(self) -> None:
        mark = self._mark.read()
        remote_sizes = self._store.sizes() if mark else {}
        for name, status in _files(self._directory):
            same_size = remote_sizes.get(name) == status.st_size
            if "/" in name and same_size and changed_at(status) < mark:
                self._sent[name] = _stamp(status)

    def _read_states(self, changed: dict[str, _Stamp]) -> tuple[dict[str, bytes], list[str]]:
        """Read the changed files at the top, then wait until storage has their journal."""
        contents: dict[str, bytes] = {}
        for name in sorted(name for name in changed if "/" not in name):
            try:
                contents[name] = (self._directory / name).read_bytes()
            except OSError as error:
                log.debug("%s was not copied to storage: %s", name, error)
        if contents and not self._journal_is_safe():
            return {}, ["the journal has not been uploaded yet."]
        return contents, []

    def _send_states(self, contents: dict[str, bytes], stamps: dict[str, _Stamp]) -> list[str]:
        # A file that was read early, such as a snapshot, may refer to one that was read later.
        for name in reversed(contents):
            try:
                self._store.write(name, contents[name])
            except StorageUnavailable:
                raise
            except StorageError as error:
                return [str(error)]  # files of trials do not depend on these, so they still follow
            self._sent[name] = stamps[name]
        return []

    def _send(self, names: list[str], stamps: dict[str, _Stamp]) -> list[str]:
        try:
            self._store.put_tree(self._directory, "", names=names)
        except StorageUnavailable:
            raise
        except StorageError as error:
            if len(names) == 1:
                # A file that was deleted meanwhile needs no copy.
                return [str(error)] if (self._directory / names[0]).exists() else []
            return [problem for name in names for problem in self._send([name], stamps)]
        self._sent.update((name, stamps[name]) for name in names)
        return []


def _batches(names: Sequence[str], stamps: Mapping[str, _Stamp]) -> Iterator[list[str]]:
    """Divide names into batches that are small enough for regular reports of progress."""
    batch: list[str] = []
    size = 0
    for name in names:
        _, bytes_of_file = stamps[name]
        if batch and (len(batch) == _BATCH or size + bytes_of_file > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += bytes_of_file
    if batch:
        yield batch


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size


def _files(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Return the names of the mirrored files below a directory, with their status."""
    for top, folders, names in os.walk(directory):
        prefix = "" if top == str(directory) else f"{os.path.relpath(top, directory)}/"
        # Checkpoints are not mirrored, so their many files need not be listed.
        folders[:] = [name for name in folders if is_mirrored(f"{prefix}{name}/file")]
        for name in filter(is_mirrored, (f"{prefix}{name}" for name in names)):
            with contextlib.suppress(OSError):  # it has just been deleted
                status = os.stat(directory / name)
                if stat.S_ISREG(status.st_mode):
                    yield name, status
