"""Replays to a search what it was asked and told, which brings it back to its old state.

The journal has each suggestion, with the number of results and ends that the search had been told
before. So a search whose randomness is part of its state reaches the same state again if the same
calls are repeated in the same order, from the beginning or from any state saved on the way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from prefect_tune.coordinator.commands import TellSearch
from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.error import TuneError
from prefect_tune.search.basic_variant import VariantSource
from prefect_tune.search.search_state import SearchState
from prefect_tune.search.source import FINISHED, Suggestion, TrialSource


def tell(source: TrialSource, command: TellSearch) -> None:
    """Tell a search the result or the end of a trial that a command holds."""
    if command.complete:
        source.on_trial_complete(command.trial_id, command.result, command.error)
    elif command.result is not None:
        source.on_trial_result(command.trial_id, command.result)


_logger = logging.getLogger(__name__)


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
        """Replay what the search was told; it reaches the search with the next suggestion."""
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
        """Tell the search what is left, and warn if its suggestions differ from the recorded."""
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
