"""The search, on a thread of its own.

A searcher may think for seconds and is rarely thread-safe. All calls to it are made here, one after
the other, so that a slow `suggest` never holds up reports.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from prefect_tune.coordinator.commands import AskSearch, TellSearch
from prefect_tune.coordinator.events import Event, SearchIdle, TrialSuggested
from prefect_tune.error import TuneError
from prefect_tune.search.source import FINISHED, Suggestion, TrialSource

#: Makes the event for a suggestion: resources, names and directory are looked up on the way.
MakeTrial = Callable[[Suggestion, float], TrialSuggested]


class SearchFeed:
    """Carries `AskSearch` and `TellSearch` commands out.

    Args:
        source: The search.
        make_trial: Completes a suggestion to a `TrialSuggested`.
        emit: Takes the resulting events.
        fail: Takes the exception if the search raises; nothing is asked afterwards.
    """

    def __init__(
        self,
        source: TrialSource,
        make_trial: MakeTrial,
        emit: Callable[[Event], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._source = source
        self._make_trial = make_trial
        self._emit = emit
        self._fail = fail
        self._todo: queue.SimpleQueue[AskSearch | TellSearch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tune-search", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, command: AskSearch | TellSearch) -> None:
        """Queue a command; never blocks."""
        self._todo.put(command)

    def close(self, timeout: float = 5.0) -> None:
        """Let queued commands finish and end the thread; a search that hangs is left behind."""
        self._todo.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (command := self._todo.get()) is not None:
            try:
                if isinstance(command, AskSearch):
                    self._ask(command.count)
                else:
                    self._tell(command)
            except Exception as error:
                self._fail(_named(self._source, error))
                return

    def _ask(self, count: int) -> None:
        for _ in range(count):
            suggestion = self._source.next()
            if isinstance(suggestion, Suggestion):
                self._emit(self._make_trial(suggestion, time.time()))
            else:
                self._emit(SearchIdle(time.time(), finished=suggestion is FINISHED))
                return

    def _tell(self, command: TellSearch) -> None:
        if command.complete:
            self._source.on_trial_complete(command.trial_id, command.result, command.error)
        elif command.result is not None:
            self._source.on_trial_result(command.trial_id, command.result)


def _named(source: TrialSource, error: Exception) -> Exception:
    if isinstance(error, TuneError):
        return error
    named = TuneError(f"the search {source!r} raised {type(error).__name__}: {error}")
    named.__cause__ = error
    return named
