"""Brings an experiment from storage to this machine, and says where its journal goes on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prefect_tune.checkpoint.manifest import MARKER
from prefect_tune.error import StorageError
from prefect_tune.filesystem.factory import open_store
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.names import temporary_name
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.experiment_dir import LOCK_FILE, MARKER_FILE
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.last_run import RunText, common_length, knows_more
from prefect_tune.storage.journal.remote import has_remote_journal, read_remote
from prefect_tune.storage.journal.segments import NEW_RUN, SEGMENT_DIR, Origin
from prefect_tune.storage.lease import LEASE_FILE
from prefect_tune.storage.search_state import LATEST_STATE
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE
from prefect_tune.storage.sync.upload_mark import MARK_FILE, UploadMark

log = logging.getLogger(__name__)

#: Files that may know more than the journal.
STATE_FILES = (LATEST_STATE, SNAPSHOT_FILE, TRIALS_FILE)
# Directories of checkpoints: stored (maybe by a later attempt), being written, being deleted.
_CHECKPOINT = re.compile(r"checkpoint_\d+(_\d+)*|\.checkpoint_.*")
#: Says of which place in storage a local directory is a copy.
COPY_FILE = ".copy_of"
_OWN_FILES = frozenset({LOCK_FILE, MARKER_FILE, LEASE_FILE, COPY_FILE, MARK_FILE})


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a new opening of an experiment begins.

    Attributes:
        opening: Its number.
        origin: What it goes on from.
        run_start: Where the run begins in the local journal.
    """

    opening: int
    origin: Origin = NEW_RUN
    run_start: int = 0


def is_resumable(location: Location) -> bool:
    """True if there is the journal of an experiment at a location, local or not.

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


def begin_new(store: Store, directory: Path) -> Continuation:
    """Where a run begins that has nothing to do with what is there.

    Raises:
        StorageError: If the storage fails.
    """
    journal = directory / JOURNAL_FILE
    size = journal.stat().st_size if journal.exists() else 0
    begun = Continuation(read_remote(store).next_opening, NEW_RUN, size)
    _mark_copy(store, directory)
    return begun


def fetch_experiment(store: Store, directory: Path) -> Continuation:
    """Make a local directory know what storage knows of an experiment.

    The journal that knows more is taken, and the files that go with it; checkpoints stay where they
    are. If the directory holds an experiment that only has the same name, that one is set aside.

    Args:
        store: The experiment directory in storage.
        directory: The local one; may be empty.

    Returns:
        Where the run goes on.

    Raises:
        StorageError: If the storage or the disk fails, or a journal is of a newer format.
    """
    journal = directory / JOURNAL_FILE
    there = read_remote(store)
    if there.problem:
        log.warning(
            "The journal in %s is not whole: %s. What comes before is used.",
            store.location / SEGMENT_DIR,
            there.problem,
        )
    remote = RunText.of(there.data)
    local = RunText.of(journal.read_bytes() if journal.exists() else b"")
    others = remote.data and local.data and local.origin != remote.origin
    if others and not _is_copy(store, directory):
        _set_aside(directory, store)
        local = RunText()
    _mark_copy(store, directory)
    if knows_more(local, remote) or not remote.data:
        same = bool(remote.data) and local.origin == remote.origin
        common = common_length(local.data, remote.data) if same else 0
        _fetch(store, directory, replace=False)
        return Continuation(
            there.next_opening, there.origin_at(common) if same else NEW_RUN, local.start
        )
    # States that were saved behind another journal, or behind what was lost of this one, would know
    # more than it does; snapshots among them shorten the replay only.
    for name in STATE_FILES:
        (directory / name).unlink(missing_ok=True)
    # The journal comes next to last: until then this directory is one that knows less, whose files
    # are fetched anew by whoever goes on if this is cut off.
    _fetch(store, directory, replace=True, left_out=STATE_FILES)
    _replace_journal(journal, remote)
    if not there.problem:
        _fetch(store, directory, replace=False)
    # Nothing of it has to be sent back.
    mark = UploadMark(directory, store.location.url)
    mark.set(mark.now())
    return Continuation(there.next_opening, there.origin_at(len(there.data)), 0)


def is_mirrored(name: str) -> bool:
    """True for what storage has a copy of: everything but journal, checkpoints and our own locks.

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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / COPY_FILE).write_text(store.location.url)
    except OSError as error:
        raise StorageError(f"cannot write {directory / COPY_FILE}: {error.strerror}.") from error


def _set_aside(directory: Path, store: Store) -> None:
    """Move what is in a local directory out of the way; its lock stays."""
    aside = _free_name(directory, "other")
    try:
        aside.mkdir()
        for path in list(directory.iterdir()):
            if path.name not in _OWN_FILES:
                os.replace(path, aside / path.name)
    except OSError as error:
        raise StorageError(
            f"{directory} holds another experiment than {store.location}, and cannot be moved to "
            f"{aside}: {error.strerror}. Move it, or give another `local_dir`."
        ) from error
    log.warning(
        "%s held another experiment than %s; it is in %s now.", directory, store.location, aside
    )


def _replace_journal(journal: Path, run: RunText) -> None:
    """Make a local journal of a run in storage; what was there is kept beside it."""
    temporary = journal.with_name(temporary_name(journal.name))
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(run.data)
        if journal.exists() and journal.stat().st_size:
            kept = _free_name(journal, "replaced")
            log.warning(
                "The journal in storage knows more than the one in %s, which is kept as %s.",
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
    """Copy mirrored files here: those that are missing, and if asked all others.

    Nobody can tell by its size whether a file is the same.
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
