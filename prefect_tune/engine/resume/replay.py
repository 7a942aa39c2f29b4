"""Plays the records of a journal to a new coordinator, which then knows what the old one knew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_tune.coordinator.commands import Notice, Notify, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Event, ResultReported, TrialSuggested
from prefect_tune.coordinator.records import decode_event
from prefect_tune.engine.resume.result_constants import AttemptConstants
from prefect_tune.engine.resume.search_replay import SearchReplay
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles, Untrusted
from prefect_tune.experiment.trial import Trial
from prefect_tune.storage.journal.header import parse_header

#: Takes each acknowledged result, in order.
SeeResult = Callable[[Trial, dict[str, Any]], None]


def replay(
    records: Iterable[bytes],
    coordinator: Coordinator,
    search: SearchReplay,
    see: SeeResult,
    constants: AttemptConstants,
    pickles: Pickles = OF_THIS_PROCESS,
) -> int:
    """Replay the records of one run, with all its resumes.

    Trials that ran at the end are left running; a `Resumed` event ends them.

    Args:
        records: From the run's first header on, or from where a snapshot was taken.
        coordinator: Has the options of the run; new, or brought to where the snapshot was taken.
        search: Gets what was suggested and told.
        see: Gets the results.
        constants: What results are completed with; follows the records.
        pickles: Knows which pickles may be loaded.

    Returns:
        How many records there were.

    Raises:
        StorageError: If a record cannot be understood.
        TuneError: If the search cannot follow.
    """
    table = coordinator.table
    count = 0
    coordinator.replay(True)
    for record in records:
        count += 1
        header = parse_header(record)
        if header is not None:
            constants.reopened(header.experiment_id)
            continue
        event = _decode(record, pickles)
        if isinstance(event, ResultReported):
            constants.complete(event, table.get(event.trial_id))
        elif isinstance(event, TrialSuggested):
            search.suggest(event)
        else:
            constants.see(event)
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
    return count


def _decode(record: bytes, pickles: Pickles) -> Event:
    try:
        return decode_event(record, pickles)
    except Untrusted as error:
        raise StorageError(
            f"the journal holds a configuration that is not loaded: {error}"
        ) from error
    except Exception as error:
        # Also what unpickling an object in a configuration raises: its module may be gone.
        raise StorageError(
            f"a record of the journal cannot be understood ({type(error).__name__}: {error}): "
            f"{record[:200]!r}"
        ) from error
