"""Plays the records of a journal to a new coordinator, which then knows what the old one knew."""

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
from prefect_tune.engine.search_replay import SearchReplay
from prefect_tune.error import StorageError
from prefect_tune.experiment.trial import Trial
from prefect_tune.storage.header import parse_header

#: Takes each acknowledged result, in order.
SeeResult = Callable[[Trial, dict[str, Any]], None]


def replay(
    records: Iterable[bytes], coordinator: Coordinator, search: SearchReplay, see: SeeResult
) -> None:
    """Replay the records of one run, with all its resumes.

    Trials that ran at the end are left running; a `Resumed` event ends them.

    Args:
        records: From the run's first header on.
        coordinator: Has the options of the interrupted run and no trials yet.
        search: Gets what was suggested and told.
        see: Gets the results.

    Raises:
        StorageError: If a record cannot be understood.
        TuneError: If the search cannot follow.
    """
    table = coordinator.table
    constants = _Constants()
    coordinator.replay(True)
    for record in records:
        header = parse_header(record)
        if header is not None:
            constants = _Constants(header.experiment_id)
            continue
        event = _decode(record)
        if isinstance(event, ResultReported):
            constants.complete(event, table.get(event.trial_id))
        elif isinstance(event, TrialSuggested):
            search.suggest(event)
        elif isinstance(event, AttemptStarted):
            constants.started(event)
        elif isinstance(event, AttemptEnded):
            constants.ended(event)
        for command in coordinator.handle(event):
            if isinstance(command, TellSearch):
                search.tell(command)
            elif (
                isinstance(command, Notify)
                and command.notice is Notice.TRIAL_RESULT
                and command.result is not None
                and (trial := table.get(command.trial_id)) is not None
            ):
                see(trial, command.result)
    coordinator.replay(False)
    search.finish()


def _decode(record: bytes) -> Event:
    try:
        return decode_event(record)
    except Exception as error:
        # Also what unpickling an object in a configuration raises: its module may be gone.
        raise StorageError(
            f"a record of the journal cannot be understood ({type(error).__name__}: {error}): "
            f"{record[:200]!r}"
        ) from error


class _Constants:
    """What is the same in all results of an attempt, which the journal has only once.

    Args:
        experiment_id: Id of the opening of the experiment whose results these are.
    """

    def __init__(self, experiment_id: str = "") -> None:
        self._experiment_id = experiment_id
        self._processes: dict[str, dict[str, Any]] = {}

    def started(self, event: AttemptStarted) -> None:
        """An attempt has started."""
        self._processes[event.trial_id] = {
            "hostname": event.hostname,
            "node_ip": event.node_ip,
            "pid": event.pid,
        }

    def ended(self, event: AttemptEnded) -> None:
        """An attempt has ended."""
        self._processes.pop(event.trial_id, None)

    def complete(self, event: ResultReported, trial: Trial | None) -> None:
        """Complete results as the executor did when they came."""
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
            result.update(constants)
