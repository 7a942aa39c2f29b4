"""What the journal of an experiment says about its trials.

The coordinator replays the journal, so that a trial has the status that it has in the run itself.
Results are left out: they are in each trial's own files, which are smaller.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from prefect_tune.results.lineage import Copy
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.stopper import NoopStopper
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_mending import read_mended
from prefect_tune.trainable.tracked_checkpoint import open_tracked

log = logging.getLogger(__name__)
_PASSED_OVER = re.compile(rb'{"event": ?"(ResultReported|Tick|Checkpoint\w+|CapacityChanged)"')


@dataclass(slots=True)
class ExperimentRecord:
    """The last run in a journal.

    Attributes:
        header: How it was started last.
        trials: Its trials, in the order in which they were made, without their results. A trial
            whose configuration is no plain data has none.
        copies: Which trial went on from which other one, in order.
        earlier: Directories of trials of earlier runs with the same name.
    """

    header: JournalHeader
    trials: list[Trial] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    earlier: set[str] = field(default_factory=set)


def read_record(experiment_dir: str) -> ExperimentRecord | None:
    """Read what the journal in a directory says about the last run.

    A journal that a crash has cut off is used as far as it goes, with a warning. Only plain data is
    unpickled: who reads results runs no code of those who can write them.

    Returns:
        The record; None if there is no journal, or nothing of it can be read.

    Raises:
        StorageError: If the journal is of a newer format.
    """
    path = Path(experiment_dir, JOURNAL_FILE)
    problems: list[str] = []
    try:
        record = replay_last_run(read_mended(path, problems.append), experiment_dir)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the journal {path}: {error.strerror or error}") from error
    if problems:
        log.warning("The journal %s is used up to %s.", path, problems[0])
    return record


def replay_last_run(records: Iterable[bytes], experiment_dir: str) -> ExperimentRecord | None:
    """What the records of a journal say about its last run; None if no run begins in them.

    Args:
        records: The records, from the first one on.
        experiment_dir: The experiment directory.

    Raises:
        StorageError: If the journal is of a newer format.
    """
    # Nothing is signed with a key that nobody has.
    pickles = Pickles(secrets.token_bytes(), large=LargeValues(experiment_dir))
    found: ExperimentRecord | None = None
    coordinator = _new_coordinator(experiment_dir, "")
    # What a stop has ended while it waited; a resume has it wait again.
    stopped: list[Trial] = []
    for record in records:
        header = parse_header(record)
        if header is not None:
            if found is None or header.is_first:
                earlier = {trial.relative_logdir for trial in coordinator.get_trials()}
                earlier |= set() if found is None else found.earlier
                found = ExperimentRecord(header, earlier=earlier)
                coordinator, stopped = _new_coordinator(experiment_dir, header.trainable), []
            found.header = header
        elif _changes_a_trial(record):
            event = decode_event(record, pickles, skip_unloadable=True)
            if isinstance(event, Resumed):
                stopped = []
            elif isinstance(event, ControlReceived) and event.action is Control.STOP:
                stopped = [live.trial for live in coordinator.table.lives() if live.waits_again]
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
            for one in _completed(event, coordinator):
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
    """False for what does not matter here: checkpoints, time, results that ended no trial."""
    found = _PASSED_OVER.match(record)
    return found is None or (found[1] == b"ResultReported" and b'"stop"' in record)


def _completed(event: Event, coordinator: Coordinator) -> Iterator[Event]:
    """An event, behind the launch of its attempt if that is missing."""
    if isinstance(event, ResultReported):
        yield replace(event, results=event.results[-1:])
        return
    if isinstance(event, (AttemptStarted, AttemptEnded)):
        trial = coordinator.get_trial(event.trial_id)
        if trial is not None and trial.attempt < event.attempt:
            yield AttemptLaunched(event.time, event.trial_id, event.attempt)
    yield event
