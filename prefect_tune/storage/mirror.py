"""Copies results, logs, states and error files of the experiment directory to storage."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.fetch import UploadMark, changed_at, is_mirrored
from prefect_tune.storage.journal.background_worker import BackgroundWorker
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE

log = logging.getLogger(__name__)

_FIRST_S = 2.0
_BATCH = 64
_BATCH_BYTES = 64 * 2**20
_SNAPSHOTS = (SNAPSHOT_FILE, TRIALS_FILE)
_Stamp = tuple[int, int]


#: Uploads the experiment directory; calls its argument after each part, and raises `StorageError`.
Upload = Callable[[Callable[[], None]], None]


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


class Mirror(BackgroundWorker):
    """Thread that uploads the experiment directory periodically, and whenever `flush` is called.

    Args:
        upload: The way to upload.
        target: Where it uploads to, for messages.
        period_s: Seconds between uploads; the first comes soon.
        cancelled: Event that ends the thread from outside; nothing is uploaded after it is set.
    """

    def __init__(
        self,
        upload: Upload,
        target: str,
        period_s: float,
        cancelled: threading.Event | None = None,
    ) -> None:
        super().__init__("storage-mirror", f"results and logs are in {target}", cancelled)
        self._upload = upload
        self._target = target
        self._period_s = period_s
        self._requested = 0
        self._completed = 0
        self._last_error: StorageError | None = None

    def flush(self, idle_s: float, total_s: float | None = None) -> StorageError | None:
        """Upload now, and wait until it is done.

        Args:
            idle_s: Seconds to wait at most while nothing is uploaded.
            total_s: Seconds to wait at most; None waits as long as there is progress.

        Returns:
            The error of an incomplete upload; None if storage has everything.
        """
        with self._changed:
            self._requested += 1
            wanted = self._requested
            self._changed.notify_all()
            if not self._wait_until(lambda: self._completed >= wanted, idle_s, total_s):
                return StorageUnavailable("it was not done in time.")
            return self._last_error

    def _work(self) -> None:
        pause = min(_FIRST_S, self._period_s)
        while True:
            with self._changed:
                if self._requested == self._completed and not self._stopping:
                    self._changed.wait(pause)
                if self._must_end:
                    return
                requested = self._requested
            pause = self._period_s
            begun = time.monotonic()
            error = self._upload_once()
            with self._changed:
                self._last_error = error
                self._completed = requested
                self._changed.notify_all()
            log.debug("Copying to %s took %.1f s.", self._target, time.monotonic() - begun)

    def _upload_once(self) -> StorageError | None:
        try:
            self._upload(self._note_progress)
        except StorageError as error:
            self._log_outage(error)
            return error
        except Exception as error:
            # An error must not end the thread, or nothing would be uploaded any more.
            log.exception("Copying the experiment directory to %s failed.", self._target)
            return StorageError(f"{type(error).__name__}: {error}")
        away = self._outage.end()
        if away is not None:
            log.warning("The copy of results in %s has caught up after %.0f s.", self._target, away)
        return None

    def _log_outage(self, error: StorageError) -> None:
        if self._outage.begin():
            log.warning(
                "Results and logs were not copied to %s (%s) The sweep continues; they are on this "
                "machine's disk, and the copy is tried again every %.0f s.",
                self._target,
                error,
                self._period_s,
            )


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
