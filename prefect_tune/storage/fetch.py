"""Fetches an experiment from storage, and finds where its journal is to be continued."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

from prefect_tune.checkpoint.manifest import MARKER
from prefect_tune.error import StorageError, storage_errors
from prefect_tune.filesystem.location import Location, temporary_name
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.search.search_state import LATEST_STATE
from prefect_tune.storage.experiment_dir import LOCK_FILE, MARKER_FILE
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.journal_copies import LastRunText, common_length, is_local_newer
from prefect_tune.storage.journal.remote import has_remote_journal, read_remote
from prefect_tune.storage.journal.segments import NEW_RUN, SEGMENT_DIR, Continuation
from prefect_tune.storage.lease import LEASE_FILE
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE

log = logging.getLogger(__name__)
#: Says since when storage has all files of a local directory; exists only there.
MARK_FILE = ".copied"
#: Files whose state may be newer than the journal.
STATE_FILES = (LATEST_STATE, SNAPSHOT_FILE, TRIALS_FILE)
# Directories of checkpoints: complete (maybe of a later attempt), being written, being deleted.
_CHECKPOINT = re.compile(r"checkpoint_\d+(_\d+)*|\.checkpoint_.*")
#: Holds the URL in storage that a local directory is a copy of.
COPY_FILE = ".copy_of"
_OWN_FILES = frozenset({LOCK_FILE, MARKER_FILE, LEASE_FILE, COPY_FILE, MARK_FILE})


class UploadMark:
    """File that was modified when the last complete upload of a local directory began.

    Times are those of the directory's own file system, so no other clock matters.
    Without a mark, or if it cannot be written, every file may have changed.

    Args:
        directory: The local directory.
        url: The directory's copy in storage; a mark for another URL is ignored.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._path = directory / MARK_FILE
        self._begun = directory / f".{MARK_FILE}.tmp"
        self._url = url

    def begin(self) -> None:
        """Record that an upload begins now."""
        try:
            self._begun.write_text(self._url)
        except OSError as error:
            log.debug("%s could not be written: %s", self._begun, error)

    def complete(self) -> None:
        """Record that storage has everything that was written before `begin`."""
        try:
            os.replace(self._begun, self._path)
        except OSError as error:
            log.debug("%s could not be written: %s", self._path, error)

    def read(self) -> int:
        """Return when the last complete upload began, in nanoseconds; 0 if there was none."""
        try:
            return self._path.stat().st_mtime_ns if self._path.read_text() == self._url else 0
        except OSError:
            return 0


def changed_at(status: os.stat_result) -> int:
    """Return the time in nanoseconds at which a file's content or name changed.

    A rename changes the ctime only.
    """
    return max(status.st_mtime_ns, status.st_ctime_ns)


def is_resumable(location: Location) -> bool:
    """Return True if a location, local or remote, has the journal of an experiment.

    Raises:
        StorageError: If the storage cannot be asked.
    """
    if location.is_local:
        path = Path(location.path, JOURNAL_FILE)
        try:
            return path.stat().st_size > 0
        except OSError:
            return False
    return has_remote_journal(open_store(location, FOREGROUND))


def begin_run(store: Store, directory: Path) -> Continuation:
    """Return where a new run begins, behind runs that the journals already have.

    Raises:
        StorageError: If the storage fails.
    """
    journal = directory / JOURNAL_FILE
    size = journal.stat().st_size if journal.exists() else 0
    begun = Continuation(read_remote(store).next_opening, NEW_RUN, size)
    _mark_copy(store, directory)
    return begun


def fetch_experiment(store: Store, directory: Path) -> Continuation:
    """Bring a local experiment directory up to date with storage.

    The newer one of the two journals is used, with the files that belong to it; checkpoints stay in
    storage. If the directory holds another experiment of the same name, its files are moved away.

    Args:
        store: The experiment directory in storage.
        directory: The local experiment directory; may be empty.

    Returns:
        Where the run continues.

    Raises:
        StorageError: If the storage or the disk fails, or a journal is of a newer format.
    """
    journal = directory / JOURNAL_FILE
    stored = read_remote(store)
    if stored.problem:
        log.warning(
            "The journal in %s is incomplete: %s. The records before that are used.",
            store.location / SEGMENT_DIR,
            stored.problem,
        )
    remote = LastRunText.of(stored.data)
    local = LastRunText.of(journal.read_bytes() if journal.exists() else b"")
    is_other = remote.data and local.data and local.origin != remote.origin
    if is_other and not _is_copy(store, directory):
        _move_away(directory, store)
        local = LastRunText()
    _mark_copy(store, directory)
    if is_local_newer(local, remote) or not remote.data:
        same = bool(remote.data) and local.origin == remote.origin
        common = common_length(local.data, remote.data) if same else 0
        _fetch(store, directory, replace=False)
        return Continuation(
            stored.next_opening,
            stored.origin_at(common) if same else NEW_RUN,
            local.start,
        )
    # States saved with another journal, or with lost records of this one, would be newer than the
    # journal. Nothing is lost without them: snapshots only shorten the replay.
    for name in STATE_FILES:
        (directory / name).unlink(missing_ok=True)
    # The journal is replaced after the files: if this is interrupted, the local journal is still
    # the older one, so the next resume fetches all files again.
    _fetch(store, directory, replace=True, left_out=STATE_FILES)
    _replace_journal(journal, remote)
    if not stored.problem:
        _fetch(store, directory, replace=False)
    # Files that were just fetched need no upload.
    mark = UploadMark(directory, store.location.url)
    mark.begin()
    mark.complete()
    return Continuation(stored.next_opening, stored.origin_at(len(stored.data)), 0)


def is_mirrored(name: str) -> bool:
    """Return True if storage gets a copy of a file: all but journal, checkpoints and locks.

    Args:
        name: Path of a file relative to the experiment directory.
    """
    parts = name.split("/")
    if len(parts) == 1 and (name == JOURNAL_FILE or name in _OWN_FILES):
        return False
    if parts[0] == SEGMENT_DIR or any(_CHECKPOINT.fullmatch(part) for part in parts[:-1]):
        return False
    return not (parts[-1].startswith(".") and (".tmp" in parts[-1] or parts[-1] == MARKER))


def _is_copy(store: Store, directory: Path) -> bool:
    try:
        return (directory / COPY_FILE).read_text() == store.location.url
    except OSError:
        return False


def _mark_copy(store: Store, directory: Path) -> None:
    with storage_errors(f"write {directory / COPY_FILE}"):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / COPY_FILE).write_text(store.location.url)


def _move_away(directory: Path, store: Store) -> None:
    """Move another experiment's files out of a local directory, except for the lock."""
    target = _free_name(directory, "other")
    try:
        target.mkdir()
        for path in list(directory.iterdir()):
            if path.name not in _OWN_FILES:
                os.replace(path, target / path.name)
    except OSError as error:
        raise StorageError(
            f"{directory} holds another experiment than {store.location}, and cannot be moved to "
            f"{target}: {error.strerror}. Move it, or give another `local_dir`."
        ) from error
    log.warning(
        "%s held another experiment than %s; it is in %s now.", directory, store.location, target
    )


def _replace_journal(journal: Path, run: LastRunText) -> None:
    """Replace the local journal by that of a run in storage; keep the old one beside it."""
    temporary = journal.with_name(temporary_name(journal.name))
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(run.data)
        if journal.exists() and journal.stat().st_size:
            kept = _free_name(journal, "replaced")
            log.warning(
                "The journal in storage is newer than the one in %s, which is kept as %s.",
                journal.parent,
                kept.name,
            )
            os.replace(journal, kept)
        os.replace(temporary, journal)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {journal}: {error.strerror}.") from error


def _free_name(path: Path, kind: str) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.{kind}-{number}")).exists():
        number += 1
    return kept


def _fetch(store: Store, directory: Path, *, replace: bool, left_out: Collection[str] = ()) -> None:
    """Fetch mirrored files that the local directory lacks; with `replace`, all of them.

    Sizes are not compared: files of the same size may differ.
    """
    fetched: list[int] = []

    def wanted(name: str, size: int) -> bool:
        if not is_mirrored(name) or name in left_out:
            return False
        if not replace and os.path.exists(directory / name):
            return False
        fetched.append(size)
        return True

    store.get_tree("", directory, wanted)
    if fetched:
        log.info(
            "Fetched %d files (%.1f MB) of the experiment from %s.",
            len(fetched),
            sum(fetched) / 1e6,
            store.location,
        )
