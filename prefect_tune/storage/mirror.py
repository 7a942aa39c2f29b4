"""Keeps storage like the experiment directory: results, logs, states and error files."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.fetch import is_mirrored
from prefect_tune.storage.journal.background_worker import BackgroundWorker
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE
from prefect_tune.storage.sync.upload_mark import UploadMark, changed_at
from prefect_tune.storage.sync.user_sync import UserSync

log = logging.getLogger(__name__)

_FIRST_S = 2.0
_BATCH = 64
_BATCH_BYTES = 64 * 2**20
_SNAPSHOTS = (SNAPSHOT_FILE, TRIALS_FILE)
_Stamp = tuple[int, int]


class Upload(Protocol):
    """One way to bring storage up to date."""

    def __call__(self, advanced: Callable[[], None]) -> None:
        """Do it now.

        Args:
            advanced: Called whenever a part of it is done.

        Raises:
            StorageError: If something did not get there.
        """
        ...


class ChangedFiles:
    """Uploads the files of a directory that have changed since it last did.

    Args:
        directory: The experiment directory.
        store: Its counterpart.
        journal_is_safe: Called before files that say how far the run is, such as saved states, are
            written: storage must never know a state of a journal that it does not know. False
            leaves them for the next time.
        compare: Files of trials that storage has with the same size, and that have not changed
            since all of them were there, are not sent again: for a run that goes on with an
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

    def __call__(self, advanced: Callable[[], None] = lambda: None) -> None:
        """Upload what has changed."""
        begun = self._mark.now()
        if self._compare:
            self._assume_sent()
            self._compare = False
        changed = {name: stamp for name, stamp in self._stamps() if self._sent.get(name) != stamp}
        states, problems = self._read_states(changed)
        snapshots = {name: states.pop(name) for name in _SNAPSHOTS if name in states}
        problems += self._send_states(states, changed)
        trials = [name for name in changed if "/" in name]
        refused: list[str] = []
        for batch in _batches(trials, changed):
            refused += self._send(batch, changed)
            advanced()
        if not refused:
            # Results from before a snapshot are not logged again: they have to be in the files.
            problems += self._send_states(snapshots, changed)
        problems += refused
        if problems:
            more = f" ({len(problems)} files were not copied)" if len(problems) > 1 else ""
            raise StorageError(f"{problems[0]}{more}")
        self._mark.set(begun)

    def _assume_sent(self) -> None:
        mark = self._mark.read()
        there = self._store.sizes() if mark else {}
        for name, status in self._mirrored():
            same_size = there.get(name) == status.st_size
            if "/" in name and same_size and changed_at(status) < mark:
                self._sent[name] = _stamp(status)

    def _read_states(self, changed: dict[str, _Stamp]) -> tuple[dict[str, bytes], list[str]]:
        """Files at the top; each is read before the journal is asked to be as far as it is."""
        contents: dict[str, bytes] = {}
        for name in sorted(name for name in changed if "/" not in name):
            try:
                contents[name] = (self._directory / name).read_bytes()
            except OSError as error:
                log.debug("%s was not copied to storage: %s", name, error)
        if contents and not self._journal_is_safe():
            return {}, ["the journal is not there yet."]
        return contents, []

    def _send_states(self, contents: dict[str, bytes], stamps: dict[str, _Stamp]) -> list[str]:
        # What was read first, such as a snapshot, may refer to what was read after it.
        for name in reversed(contents):
            try:
                self._store.write(name, contents[name])
            except StorageUnavailable:
                raise
            except StorageError as error:
                return [str(error)]  # but the files of trials do not refer to it
            self._sent[name] = stamps[name]
        return []

    def _send(self, names: list[str], stamps: dict[str, _Stamp]) -> list[str]:
        try:
            self._store.put_tree(self._directory, "", names=names)
        except StorageUnavailable:
            raise
        except StorageError as error:
            if len(names) == 1:
                # One that was deleted meanwhile needs no copy.
                return [str(error)] if (self._directory / names[0]).exists() else []
            return [problem for name in names for problem in self._send([name], stamps)]
        self._sent.update((name, stamps[name]) for name in names)
        return []

    def _stamps(self) -> Iterator[tuple[str, _Stamp]]:
        for name, status in self._mirrored():
            yield name, _stamp(status)

    def _mirrored(self) -> Iterator[tuple[str, os.stat_result]]:
        for name, status in _files(self._directory, ""):
            if is_mirrored(name):
                yield name, status


class UserUpload:
    """Lets the user's own command, function or `Syncer` upload everything.

    Args:
        directory: The experiment directory.
        sync: What uploads.
        target: Where to.
        timeout_s: For one upload.
    """

    def __init__(self, directory: Path, sync: UserSync, target: str, timeout_s: float) -> None:
        self._directory = directory
        self._sync = sync
        self._target = target
        self._timeout_s = timeout_s

    def __call__(self, advanced: Callable[[], None] = lambda: None) -> None:
        """Upload everything; nobody sees how far it is."""
        self._sync.up(str(self._directory), self._target, self._timeout_s)


class Mirror(BackgroundWorker):
    """A thread that uploads from time to time, and at the end.

    Args:
        upload: What to do.
        target: Where to, for messages.
        period_s: Seconds between uploads; the first comes soon.
        cancelled: Set from outside: nothing is uploaded any more.
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
        self._asked = 0
        self._done = 0
        self._last_error: StorageError | None = None

    def flush(self, idle_s: float, total_s: float | None = None) -> StorageError | None:
        """Upload now what has changed.

        Args:
            idle_s: Seconds to wait at most while nothing gets there.
            total_s: Seconds to wait at most; None is as long as it goes on.

        Returns:
            Why not everything is in storage; None if it is.
        """
        with self._changed:
            self._asked += 1
            wanted = self._asked
            self._changed.notify_all()
            if not self._wait_until(lambda: self._done >= wanted, idle_s, total_s):
                return StorageUnavailable("it was not done in time.")
            return self._last_error

    def _work(self) -> None:
        pause = min(_FIRST_S, self._period_s)
        while True:
            with self._changed:
                if self._asked == self._done and not self._stopping:
                    self._changed.wait(pause)
                if self._is_over:
                    return
                asked = self._asked
            pause = self._period_s
            begun = time.monotonic()
            error = self._try()
            with self._changed:
                self._last_error = error
                self._done = asked
                self._changed.notify_all()
            log.debug("Copying to %s took %.1f s.", self._target, time.monotonic() - begun)

    def _try(self) -> StorageError | None:
        try:
            self._upload(self._advance)
        except StorageError as error:
            self._tell_fails(error)
            return error
        except Exception as error:
            # Nothing that happens here may end the thread, and with it all later uploads.
            log.exception("Copying the experiment directory to %s failed.", self._target)
            return StorageError(f"{type(error).__name__}: {error}")
        away = self._outage.end()
        if away is not None:
            log.warning("The copy of results in %s has caught up after %.0f s.", self._target, away)
        return None

    def _tell_fails(self, error: StorageError) -> None:
        if self._outage.begin():
            log.warning(
                "Results and logs were not copied to %s (%s) The sweep goes on; they are on this "
                "machine's disk, and the copy is tried again every %.0f s.",
                self._target,
                error,
                self._period_s,
            )


def _batches(names: Sequence[str], stamps: Mapping[str, _Stamp]) -> Iterator[list[str]]:
    """What is sent at once; so little that whoever waits sees that it goes on."""
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


def _files(directory: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below a directory; what vanishes meanwhile is passed over."""
    try:
        entries: Iterable[os.DirEntry[str]] = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        try:
            if entry.is_dir(follow_symlinks=False):
                # Checkpoints have their own way, and may be many.
                if is_mirrored(f"{name}/file"):
                    yield from _files(Path(entry.path), f"{name}/")
            elif entry.is_file():
                yield name, entry.stat()
        except OSError:
            continue
