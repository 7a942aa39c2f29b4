"""Replays the records of a journal to a new coordinator, which brings it to the old one's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_tune.coordinator.commands import Notice, Notify, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    ResultReported,
    TrialSuggested,
)
from prefect_tune.coordinator.records import decode_event
from prefect_tune.engine.resume.search_replay import SearchReplay
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles, Untrusted
from prefect_tune.experiment.trial import Trial
from prefect_tune.storage.journal.header import parse_header
from prefect_tune.trainable.runtime.config_changes import complete


class AttemptConstants:
    """Completes journaled results with the values that are equal in all results of an attempt."""

    def __init__(self) -> None:
        self._experiment_id = ""
        self._processes: dict[str, dict[str, Any]] = {}

    def follow(self, event: Event) -> None:
        """Note the process of an attempt that a recorded event starts or ends."""
        if isinstance(event, AttemptStarted):
            self._processes[event.trial_id] = {
                "hostname": event.hostname,
                "node_ip": event.node_ip,
                "pid": event.pid,
            }
        elif isinstance(event, AttemptEnded):
            self._processes.pop(event.trial_id, None)

    def complete(self, event: ResultReported, trial: Trial | None) -> None:
        """Add the constant values to the results of a recorded event, as the executor did."""
        if trial is None:
            return
        constants = {
            "trial_id": trial.trial_id,
            "experiment_id": self._experiment_id,
            "experiment_tag": trial.experiment_tag,
            "config": trial.config,
            **self._processes.get(trial.trial_id, {}),
        }
        for result in event.results:
            complete(result, constants)

    def start_run(self, experiment_id: str) -> None:
        """Note that a new run of the experiment has begun, which has none of the old attempts."""
        self._experiment_id = experiment_id
        self._processes.clear()


#: Called with each acknowledged result, in order.
ResultListener = Callable[[Trial, dict[str, Any]], None]


def replay(
    records: Iterable[bytes],
    coordinator: Coordinator,
    search: SearchReplay,
    on_result: ResultListener,
    constants: AttemptConstants,
    pickles: Pickles = OF_THIS_PROCESS,
) -> int:
    """Replay the records of one run, with all its resumes, to coordinator and search.

    Trials that ran at the end are left running; a `Resumed` event ends them.

    Args:
        records: Records from the run's first header on, or those behind a snapshot.
        coordinator: A coordinator with the options of the run: new, or restored from the snapshot.
        search: Repeats what the search was asked and told.
        on_result: Called with each result.
        constants: The values that results are completed with; follows the records.
        pickles: Decides which pickles may be loaded.

    Returns:
        The number of records.

    Raises:
        StorageError: If a record cannot be decoded.
        TuneError: If the search suggests nothing where it had suggested a trial.
    """
    table = coordinator.table
    count = 0
    coordinator.replay(True)
    for record in records:
        count += 1
        header = parse_header(record)
        if header is not None:
            constants.start_run(header.experiment_id)
            continue
        event = _decode(record, pickles)
        if isinstance(event, ResultReported):
            constants.complete(event, table.get(event.trial_id))
        elif isinstance(event, TrialSuggested):
            search.suggest(event)
        else:
            constants.follow(event)
        for command in coordinator.handle(event):
            if isinstance(command, TellSearch):
                search.tell(command)
            elif (
                isinstance(command, Notify)
                and command.notice is Notice.TRIAL_RESULT
                and command.result is not None
            ):
                on_result(table[command.trial_id], command.result)
    coordinator.replay(False)
    search.finish()
    return count


def _decode(record: bytes, pickles: Pickles) -> Event:
    try:
        return decode_event(record, pickles)
    except Untrusted as error:
        raise StorageError(
            f"the journal holds a configuration that is not loaded: {error}"
        ) from error
    except Exception as error:
        # Unpickling an object in a configuration raises anything, e.g. if its module is gone.
        raise StorageError(
            f"a record of the journal cannot be understood ({type(error).__name__}: {error}): "
            f"{record[:200]!r}"
        ) from error
