"""Replays the records of a journal to a new coordinator and a new search.

That brings them to the state of the old ones. The journal has each suggestion, with the number of
results and ends that the search had been told before. So a search whose randomness is part of its
state reaches the same state again if the same calls are repeated in the same order, from the
beginning or from any state saved on the way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
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
from prefect_tune.error import StorageError, TuneError
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles, Untrusted
from prefect_tune.experiment.trial import Trial
from prefect_tune.search.basic_variant import VariantSource
from prefect_tune.search.search_state import SearchState
from prefect_tune.search.source import FINISHED, Suggestion, TrialSource
from prefect_tune.storage.journal.header import parse_header
from prefect_tune.trainable.runtime.config_changes import complete

_logger = logging.getLogger(__name__)


def tell(source: TrialSource, command: TellSearch) -> None:
    """Tell a search the result or the end of a trial that a command holds."""
    if command.complete:
        source.on_trial_complete(command.trial_id, command.result, command.error)
    elif command.result is not None:
        source.on_trial_result(command.trial_id, command.result)


class SearchReplay:
    """Repeats the calls that a search got in the interrupted run.

    Args:
        source: A new search with the arguments of the interrupted run.
        state: A saved state to start from; None starts from the beginning.
        suggested: How many suggestions are not replayed because a snapshot includes them.
        told: How many results and ends are not replayed for the same reason.

    Attributes:
        suggested: How many suggestions the search has made.
        told: How many results and ends the search has been told.
    """

    def __init__(
        self, source: TrialSource, state: SearchState | None, suggested: int = 0, told: int = 0
    ) -> None:
        self._source = source
        self._state = SearchState(0, 0, b"") if state is None else state
        self._tells: deque[TellSearch] = deque()
        self._differing = 0
        self._finished = False
        self.suggested = suggested
        self.told = told
        if state is not None:
            source.restore_state(state.state)

    @property
    def is_ahead_of_journal(self) -> bool:
        """True if the saved state includes suggestions or results that the journal lacks."""
        return self._state.suggested > self.suggested or self._state.told > self.told

    def tell(self, command: TellSearch) -> None:
        """Queue a recorded result or end; the search gets it before the next suggestion."""
        self._tells.append(command)

    def suggest(self, event: TrialSuggested) -> None:
        """Replay a suggestion: ask the search, and compare its answer with the recorded trial.

        Raises:
            TuneError: If the search suggests nothing now, because its arguments have changed.
        """
        self._tell_until(event.told)
        self.suggested += 1
        if self.suggested <= self._state.suggested or self._finished:
            return
        answer = self._source.next()
        if answer is FINISHED:
            self._finished = True
        elif isinstance(answer, Suggestion):
            self._compare(answer, event)
        else:
            raise TuneError(
                f"The search {self._source!r} suggests nothing where it had suggested trial "
                f"{event.trial_id}. Resume with the search arguments of the interrupted run "
                "(param_space or config, search_alg, max_concurrent_trials, num_samples)."
            )

    def finish(self) -> None:
        """Pass the remaining results to the search; warn if its suggestions have differed."""
        self._tell_until(self.told + len(self._tells))
        if self._differing:
            _logger.warning(
                "%d trials of the interrupted run differ from what the search %r suggests when it "
                "is asked again: it has not learnt from them. They keep their configurations.",
                self._differing,
                self._source,
            )

    def _tell_until(self, count: int) -> None:
        while self._tells and self.told < count:
            command = self._tells.popleft()
            self.told += 1
            if self.told > self._state.told:
                tell(self._source, command)

    def _compare(self, answer: Suggestion, event: TrialSuggested) -> None:
        same_id = answer.trial_id == event.trial_id
        if same_id and _alike(answer.config, event.config):
            return
        self._differing += 1
        # The recorded trial is not what the search suggests now, so the search must not get its
        # result. Random and grid search do not learn, and need the trial to count as unfinished.
        if not (same_id and isinstance(self._source, VariantSource)):
            self._source.on_trial_complete(answer.trial_id, None, error=True)


def _alike(one: Any, other: Any) -> bool:
    """Return True if two configurations are equal; arbitrary objects need only have one type."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, (str, int, float, bool, type(None))):
        return bool(one == other) or (one != one and other != other)
    return type(one).__qualname__ == type(other).__qualname__


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
