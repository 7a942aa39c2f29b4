"""Brings an experiment to where a snapshot of it was taken."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from prefect_tune._version import __version__
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.resume.last_run import RunRecords
from prefect_tune.engine.resume.snapshot import PYTHON, SnapshotBody, StatefulParts, load_state
from prefect_tune.experiment.trial import Trial
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotHead, SnapshotUnusable


@dataclass(frozen=True, slots=True)
class Restored:
    """What was in a snapshot.

    Attributes:
        body: The state, already given to coordinator, scheduler and stopper.
        stored: Ids of the finished trials in the files.
    """

    body: SnapshotBody
    stored: set[str]


def tail_of(journal: LocalJournal, run: RunRecords, head: SnapshotHead) -> Iterator[bytes]:
    """The records behind a snapshot.

    Raises:
        SnapshotUnusable: If the journal is not the one that the snapshot was taken of.
    """
    if run.count < head.records:
        raise SnapshotUnusable("the journal has lost what it was taken behind")
    records = journal.read(run.start + head.records - 1)
    if zlib.crc32(next(records)) != head.last_record:
        raise SnapshotUnusable("the journal is another one")
    return records


def restore_snapshot(
    files: SnapshotFiles,
    head: SnapshotHead,
    stateful_parts: StatefulParts,
    coordinator: Coordinator,
    directory: str,
) -> Restored:
    """Give coordinator, scheduler and stopper the state of a snapshot.

    Args:
        files: Where it is.
        head: Its head.
        stateful_parts: Not used yet.
        coordinator: Without trials.
        directory: The experiment directory.

    Raises:
        SnapshotUnusable: If it cannot be used here; nothing was changed.
        Exception: Whatever the objects in it raise, or those that get it.
    """
    for name, before, now in (
        ("prefect_tune", head.prefect_tune, __version__),
        ("Python", head.python, PYTHON),
    ):
        if before != now:
            raise SnapshotUnusable(f"it was written by {name} {before}, this is {now}")
    if not head.scheduler or head.scheduler != stateful_parts.scheduler_print:
        raise SnapshotUnusable("the scheduler is not the same as it was")
    if not head.stopper or head.stopper != stateful_parts.stopper_print:
        raise SnapshotUnusable("the stopping criteria are of other kinds than they were")
    data, frames = files.load(head)
    large = files.pickles.large
    finished: dict[str, Trial] = {}
    for frame in frames:
        # A trial that was run again is there once more.
        finished |= {trial.trial_id: trial for trial in load_state(frame, {}, {}, large)}
    body: SnapshotBody = load_state(data, stateful_parts.names(coordinator), finished, large)
    coordinator.set_state(body.coordinator)
    stateful_parts.scheduler.set_state(body.scheduler)
    stateful_parts.stopper.set_state(body.stopper)
    trials = coordinator.get_trials()
    for trial in trials:
        # The directory may have been moved.
        trial.local_experiment_dir = directory
    unfinished = {trial.trial_id for trial in trials if not trial.is_finished()}
    return Restored(body, finished.keys() - unfinished)
