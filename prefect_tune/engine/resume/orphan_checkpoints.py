"""Checkpoints that are in storage although the journal does not know of them.

An upload was complete, or the directory of a checkpoint had its name, but the process that was to
write that down died first. What becomes of such a checkpoint when its experiment is resumed:

* Its trial goes on from it, as if the record were there, if it belongs to the attempt that was cut
  off, is newer than what the trial goes on from otherwise, and the result that it belongs to is in
  the journal. A checkpoint that is ahead of the journal is no use: the results between would never
  be reported again.
* Else it is deleted: nothing can refer to what no record has ever named. This concerns only
  directories which say themselves that an attempt of this trial has written them; whatever else
  looks like a checkpoint may be the user's. What a finished trial has left is not looked for: its
  fate was decided when all its uploads had settled.

With remote storage there may be more on this machine: what was complete here and had not got there.
What a trial can go on from of that is uploaded first, the rest is left alone.

A node of the dead run may still be uploading while we look. Its checkpoints never get the names of
later ones, so the next resume finds them.
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
from prefect_tune.filesystem.factory import open_store
from prefect_tune.filesystem.location import Location, is_absolute
from prefect_tune.storage.checkpoints import CheckpointStore

_logger = logging.getLogger(__name__)
_NAME = re.compile(r"checkpoint_\d{6,}(_\d+)*")
_RESULT = b'{"event":"ResultReported"'
_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class OrphanCheckpoints:
    """What is to be done about them.

    Attributes:
        saved: What the journal lacks, in the order in which it happened.
        useless: Paths of those that are to be deleted, relative to the experiment directory.
    """

    saved: list[CheckpointSaved] = field(default_factory=list)
    useless: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    manifest: Manifest
    live: LiveTrial

    @property
    def may_be_used(self) -> bool:
        """True if it is of the attempt that was cut off, and newer than what there is else."""
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
    here: Path | None = None,
) -> OrphanCheckpoints:
    """Look for them; the trials are as the journal leaves them.

    Args:
        table: The trials.
        checkpoints: Where checkpoints are kept.
        records: The journal of the run; read only if something is found.
        now: Seconds since the epoch.
        here: The experiment directory on this machine, if `checkpoints` are kept elsewhere.

    Returns:
        What is to be done; nothing if the storage cannot be asked, which is logged.
    """
    lives = [live for live in (*table.lives(), *table.aside()) if live.trial.attempt]
    known = frozenset(path for live in lives for path in _referred(live))
    # One of this very experiment may have been given as an absolute path or URL.
    outside = tuple(filter(is_absolute, known))

    def is_known(path: str) -> bool:
        return path in known or any(one.endswith(f"/{path}") for one in outside)

    def look_in(store: CheckpointStore) -> list[_Found]:
        def look(live: LiveTrial) -> list[_Found]:
            return _look(live, store, is_known)

        with ThreadPoolExecutor(_PARALLEL, "found-checkpoints") as pool:
            return [one for of_trial in pool.map(look, lives) for one in of_trial]

    try:
        found = look_in(checkpoints)
        local = [] if here is None else look_in(CheckpointStore(open_store(Location(str(here)))))
    except StorageError as error:
        _logger.warning("Checkpoints that the journal does not know are not looked for: %s", error)
        return OrphanCheckpoints()
    stored = {one.path for one in found}
    local = [one for one in local if one.path not in stored and one.may_be_used]
    wanted = {_key(one): one for one in (*local, *found) if one.may_be_used}
    results = _results(records, wanted.keys()) if wanted else {}
    if here is not None:
        for one in local:
            if _key(one) in results and not _upload(one, here, checkpoints):
                del results[_key(one)]
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


def _upload(found: _Found, here: Path, checkpoints: CheckpointStore) -> bool:
    """Bring a checkpoint to storage; False if it does not get there, which is logged."""
    try:
        checkpoints.put(here / found.path, found.path)
    except StorageError as error:
        _logger.warning("%s is complete in %s, but cannot be stored: %s", found.path, here, error)
        return False
    _logger.info("%s had not got to storage before; it is there now.", found.path)
    return True


_Key = tuple[str, int, int]


def _key(found: _Found) -> _Key:
    trial = found.live.trial
    return trial.trial_id, trial.attempt, found.manifest.iteration


def _referred(live: LiveTrial) -> Iterable[str]:
    """Every path that a trial refers to, its own and others'."""
    yield from (checkpoint.path for checkpoint in live.trial.checkpoints)
    yield from live.borrowed
    redirected = None if live.redirect is None else live.redirect.checkpoint
    for one in (live.start, live.book.origin, live.book.adopted, redirected):
        if one is not None:
            yield one.path


def _look(
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
            continue  # nobody knows whose it is
        if manifest is None or not 0 < manifest.attempt <= live.trial.attempt:
            continue
        if checkpoints.is_complete(path):
            found.append(_Found(path, manifest, live))
    return found


def _results(records: Iterable[bytes], keys: Iterable[_Key]) -> dict[_Key, dict[str, Any]]:
    """The results of these trials, attempts and iterations, as far as there are any."""
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
