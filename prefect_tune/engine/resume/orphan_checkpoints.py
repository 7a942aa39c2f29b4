"""Finds orphan checkpoints: those in storage that the journal does not mention.

The process that was to record a complete checkpoint has died first. When its experiment is resumed,
such a checkpoint is used or deleted:

* Its trial goes on from it if the checkpoint belongs to the interrupted attempt, is newer than the
  checkpoint that the trial would start from, and belongs to a result that the journal has. A
  checkpoint ahead of the journal is useless: the results up to it would never be reported.
* Otherwise it is deleted, if its manifest says that an attempt of this trial has written it. Any
  other directory that looks like a checkpoint may be the user's. Directories of finished trials are
  not searched: the fate of their checkpoints was decided when all uploads had ended.

With remote storage, this machine may have complete checkpoints that were not uploaded. Those that
trials can go on from are uploaded; the rest is left alone.

A node of the dead run may still upload during the search. It does not use the names of later
checkpoints, so the next resume finds these.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.manifest import Manifest
from prefect_tune.coordinator.events import CheckpointSaved, ResultReported
from prefect_tune.coordinator.records import decode_event
from prefect_tune.coordinator.table import LiveTrial, TrialTable
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.filesystem.location import Location, is_absolute
from prefect_tune.filesystem.store import open_store
from prefect_tune.storage.checkpoints import CheckpointStore

_logger = logging.getLogger(__name__)
_NAME = re.compile(r"checkpoint_\d{6,}(_\d+)*")
_RESULT = b'{"event":"ResultReported"'
_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class OrphanCheckpoints:
    """The orphan checkpoints of an experiment, split into useful and useless ones.

    Attributes:
        to_record: Events for the checkpoints that trials go on from, in order of iteration.
        to_delete: Paths of all others, relative to the experiment directory.
    """

    to_record: list[CheckpointSaved] = field(default_factory=list)
    to_delete: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    manifest: Manifest
    live: LiveTrial

    @property
    def may_be_used(self) -> bool:
        """True if the interrupted attempt wrote it, and it is newer than the recorded ones."""
        live = self.live
        start = live.book.start()
        return (
            self.manifest.attempt == live.trial.attempt
            and (live.slot is not None or live.ending is not None or live.interrupted)
            and (start is None or self.manifest.iteration > start.progress.iteration)
        )


def find_checkpoints(
    table: TrialTable,
    checkpoints: CheckpointStore,
    records: Iterable[bytes],
    now: float,
    local_dir: Path | None = None,
) -> OrphanCheckpoints:
    """Find checkpoints in storage that the journal does not mention.

    Args:
        table: The trials, as the replay of the journal leaves them.
        checkpoints: The storage of checkpoints.
        records: The journal of the run; read only if a checkpoint is found.
        now: Seconds since the epoch.
        local_dir: The experiment directory on this machine, if `checkpoints` is elsewhere.

    Returns:
        The checkpoints; none if the storage cannot be read, which is logged.
    """
    entries = [live for live in table.unfinished() if live.trial.attempt]
    known = frozenset(path for live in entries for path in _referenced_paths(live))
    # The user may have given a checkpoint of this experiment as an absolute path or URL.
    outside = tuple(filter(is_absolute, known))

    def is_known(path: str) -> bool:
        return path in known or any(one.endswith(f"/{path}") for one in outside)

    def find_in(store: CheckpointStore) -> list[_Found]:
        def find(live: LiveTrial) -> list[_Found]:
            return _find_in_trial_directory(live, store, is_known)

        with ThreadPoolExecutor(_PARALLEL, "orphan-checkpoints") as pool:
            return [one for of_trial in pool.map(find, entries) for one in of_trial]

    try:
        found = find_in(checkpoints)
        local = (
            []
            if local_dir is None
            else find_in(CheckpointStore(open_store(Location(str(local_dir)))))
        )
    except StorageError as error:
        _logger.warning("Checkpoints that the journal does not know are not looked for: %s", error)
        return OrphanCheckpoints()
    stored = {one.path for one in found}
    local = [one for one in local if one.path not in stored and one.may_be_used]
    wanted = {_result_key(one): one for one in (*local, *found) if one.may_be_used}
    results = _results(records, wanted.keys()) if wanted else {}
    if local_dir is not None:
        for one in local:
            if _result_key(one) in results and not _upload(one, local_dir, checkpoints):
                del results[_result_key(one)]
    used = sorted(results, key=lambda key: wanted[key].manifest.iteration)
    used_paths = {wanted[key].path for key in used}
    if found:
        _logger.info(
            "%d checkpoints that the journal did not know were found in storage; trials go on "
            "from %d of them.",
            len(found),
            len(used),
        )
    return OrphanCheckpoints(
        [CheckpointSaved(now, *key[:2], wanted[key].path, results[key]) for key in used],
        [one.path for one in found if one.path not in used_paths],
    )


def _upload(found: _Found, local_dir: Path, checkpoints: CheckpointStore) -> bool:
    """Upload a checkpoint; return False if the upload fails, which is logged."""
    try:
        checkpoints.put(local_dir / found.path, found.path)
    except StorageError as error:
        _logger.warning(
            "%s is complete in %s, but cannot be stored: %s", found.path, local_dir, error
        )
        return False
    _logger.info("%s had not got to storage before; it is there now.", found.path)
    return True


_Key = tuple[str, int, int]


def _result_key(found: _Found) -> _Key:
    trial = found.live.trial
    return trial.trial_id, trial.attempt, found.manifest.iteration


def _referenced_paths(live: LiveTrial) -> Iterable[str]:
    """Return the paths of all checkpoints that a trial refers to, its own and others'."""
    yield from (checkpoint.path for checkpoint in live.trial.checkpoints)
    yield from live.borrowed
    yield from live.starts()
    if live.book.origin is not None:
        yield live.book.origin.path


def _find_in_trial_directory(
    live: LiveTrial, checkpoints: CheckpointStore, is_known: Callable[[str], bool]
) -> list[_Found]:
    directory = live.trial.relative_logdir
    found = []
    for name in checkpoints.names(directory):
        path = f"{directory}/{name}"
        if not _NAME.fullmatch(name) or is_known(path):
            continue
        try:
            manifest = checkpoints.manifest(path)
        except CheckpointUnreadable:
            continue  # the attempt that wrote it is unknown
        if manifest is None or not 0 < manifest.attempt <= live.trial.attempt:
            continue
        if checkpoints.is_complete(path):
            found.append(_Found(path, manifest, live))
    return found


def _results(records: Iterable[bytes], keys: Iterable[_Key]) -> dict[_Key, dict[str, Any]]:
    """Return the results in the journal with the given trials, attempts and iterations."""
    wanted = frozenset(keys)
    ids = {trial_id.encode() for trial_id, _, _ in wanted}
    found = {}
    for record in records:
        if not record.startswith(_RESULT) or not any(one in record for one in ids):
            continue
        event = decode_event(record)
        if isinstance(event, ResultReported):
            for result in event.results:
                key = (event.trial_id, event.attempt, Progress.of(result).iteration)
                if key in wanted:
                    found[key] = result
    return found
