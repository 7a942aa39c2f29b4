"""Read the trials of an experiment, and the copies between them, from its journal.

The coordinator replays the journal, so that a trial gets the status that it had in the run.
Results are not read from the journal: each trial's own files have them, and are smaller.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    AttemptStarted,
    Control,
    ControlReceived,
    Event,
    ResultReported,
    Resumed,
    TrialRedirected,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.records import decode_event
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.signing import Pickles
from prefect_tune.experiment.trial import TERMINATED, Trial, TrialTerms
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.stopper import NoopStopper
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_repair import read_repaired
from prefect_tune.trainable.tracked_checkpoint import open_tracked

log = logging.getLogger(__name__)
_SKIPPED_RECORD = re.compile(rb'{"event": ?"(ResultReported|Tick|Checkpoint\w+)"')


@dataclass(slots=True)
class ExperimentRecord:
    """The last run in a journal: how it was started, and its trials.

    Attributes:
        header: The header that the run or its last resume has written.
        trials: The run's trials in order of creation, without results. A trial whose configuration
            is not plain data has an empty one.
        copies: Each case of a trial that continued from another trial's checkpoint, in order.
        earlier_trial_dirs: Directories of trials of earlier runs with the same name.
    """

    header: JournalHeader
    trials: list[Trial] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    earlier_trial_dirs: set[str] = field(default_factory=set)


def read_record(experiment_dir: str) -> ExperimentRecord | None:
    """Read the last run from the journal in an experiment directory.

    A journal that a crash has cut off is used up to the cut, with a warning. Only plain data is
    unpickled, so that reading results runs no code of those who can write to the directory.

    Returns:
        The record; None if there is no journal, or nothing in it can be read.

    Raises:
        StorageError: If the journal has a newer format.
    """
    path = Path(experiment_dir, JOURNAL_FILE)
    problems: list[str] = []
    try:
        record = replay_last_run(read_repaired(path, problems.append), experiment_dir)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the journal {path}: {error.strerror or error}") from error
    if problems:
        log.warning("The journal %s is damaged and was read up to %s.", path, problems[0])
    return record


def replay_last_run(records: Iterable[bytes], experiment_dir: str) -> ExperimentRecord | None:
    """Replay a journal's records and return its last run; None if they contain no header.

    Args:
        records: All records of the journal.
        experiment_dir: The experiment directory.

    Raises:
        StorageError: If the journal has a newer format.
    """
    # With a random key no signature matches, so that only plain data is unpickled.
    pickles = Pickles(secrets.token_bytes(), large=LargeValues(experiment_dir))
    found: ExperimentRecord | None = None
    coordinator = _new_coordinator(experiment_dir, "")
    # Trials that a stop of the experiment has ended while they waited; after a resume they wait
    # again.
    stopped: list[Trial] = []
    for record in records:
        header = parse_header(record)
        if header is not None:
            if found is None or header.is_first:
                earlier_trial_dirs = {trial.relative_logdir for trial in coordinator.get_trials()}
                earlier_trial_dirs |= set() if found is None else found.earlier_trial_dirs
                found = ExperimentRecord(header, earlier_trial_dirs=earlier_trial_dirs)
                coordinator, stopped = _new_coordinator(experiment_dir, header.trainable), []
            found.header = header
        elif _changes_a_trial(record):
            event = decode_event(record, pickles, skip_unloadable=True)
            if isinstance(event, Resumed):
                stopped = []
            elif isinstance(event, ControlReceived) and event.action is Control.STOP:
                stopped = [
                    live.trial for live in coordinator.table.live_entries() if live.waits_again
                ]
            elif isinstance(event, TrialRedirected) and event.checkpoint and found is not None:
                found.copies.append(
                    Copy(
                        event.time,
                        event.trial_id,
                        event.source_id,
                        event.checkpoint.progress.iteration,
                        event.config or {},
                        event.experiment_tag,
                    )
                )
            for one in _with_missing_launch(event, coordinator):
                coordinator.handle(one)
    for trial in stopped:
        trial.status = TERMINATED
    if found is not None:
        found.trials = coordinator.get_trials()
    return found


def _new_coordinator(experiment_dir: str, trainable: str) -> Coordinator:
    options = CoordinatorOptions(
        trainable_name=trainable,
        local_experiment_dir=experiment_dir,
        terms=TrialTerms(open_checkpoint=open_tracked),
    )
    coordinator = Coordinator(FIFOScheduler(), NoopStopper(), options)
    coordinator.replay(True)
    return coordinator


def _changes_a_trial(record: bytes) -> bool:
    """Return False for records about checkpoints, time and results that ended no trial."""
    found = _SKIPPED_RECORD.match(record)
    return found is None or (found[1] == b"ResultReported" and b'"stop"' in record)


def _with_missing_launch(event: Event, coordinator: Coordinator) -> Iterator[Event]:
    """Yield an event, and before it the launch of its attempt if the journal lacks that."""
    if isinstance(event, ResultReported):
        yield replace(event, results=event.results[-1:])
        return
    if isinstance(event, (AttemptStarted, AttemptEnded)):
        trial = coordinator.get_trial(event.trial_id)
        if trial is not None and trial.attempt < event.attempt:
            yield AttemptLaunched(event.time, event.trial_id, event.attempt)
    yield event


@dataclass(frozen=True, slots=True)
class Copy:
    """A case of a trial that continued from another trial's checkpoint.

    Attributes:
        time: When the trial did so, in seconds since the epoch.
        trial_id: The trial that continued.
        source_id: The trial whose checkpoint was copied.
        iteration: The `training_iteration` of the checkpoint.
        config: The trial's configuration from then on, {} if the journal's cannot be read.
        experiment_tag: The trial's tag from then on.
    """

    time: float
    trial_id: str
    source_id: str
    iteration: int
    config: dict[str, Any]
    experiment_tag: str


def lineage_of(trial_id: str, copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies that a trial descends from, oldest first; empty if it copied nothing.

    Args:
        trial_id: The trial.
        copies: All copies of the experiment, in order.
    """
    found: list[Copy] = []
    for copy in reversed(copies):
        if copy.trial_id == trial_id:
            found.append(copy)
            trial_id = copy.source_id  # goes on with the ancestors of the copied trial
    return found[::-1]
