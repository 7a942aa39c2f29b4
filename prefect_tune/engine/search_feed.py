"""Runs the search in a thread of its own.

A searcher may compute for seconds and is rarely thread-safe. All calls to it are made in this
thread, so that a slow `suggest` never delays the reports of trials.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from prefect_tune.coordinator.commands import AdjustSearch, AskSearch, TellSearch
from prefect_tune.coordinator.events import Event, SearchIdle, SearchSaved, TrialSuggested
from prefect_tune.engine.resume.replay import tell
from prefect_tune.search.source import FINISHED, Suggestion, TrialSource

#: Makes the event that adds a suggested trial, with its resources, names and directory.
MakeTrial = Callable[[Suggestion, float, int], TrialSuggested]

SearchCommand = AskSearch | TellSearch | AdjustSearch
_logger = logging.getLogger(__name__)
#: Saving the search may take this share of the time, ...
_SAVE_SHARE = 0.05
#: ... and happens at most once in this many seconds.
_SAVE_EVERY_S = 10.0


class SearchFeed:
    """Asks the search for suggestions and tells it results, in a thread of its own.

    Args:
        source: The search.
        make_trial: Makes the `TrialSuggested` event of a suggestion.
        emit: Queues the resulting events for the engine.
        fail: Called with the exception if the search raises; the thread ends then.
        suggested: How many trials of this experiment the search has suggested before.
        told: How many results and ends the search has been told before.
        every_s: Seconds between two saves; None chooses them so that they cost little.

    Attributes:
        can_save: False once an attempt to save the state of the search has failed.
    """

    def __init__(
        self,
        source: TrialSource,
        make_trial: MakeTrial,
        emit: Callable[[Event], None],
        fail: Callable[[Exception], None],
        suggested: int = 0,
        told: int = 0,
        every_s: float | None = None,
    ) -> None:
        self._source = source
        self._make_trial = make_trial
        self._emit = emit
        self._fail = fail
        self._suggested = suggested
        self._told = told
        self._every_s = every_s
        self.can_save = True
        self._next_save = 0.0
        self._commands: queue.SimpleQueue[SearchCommand | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tune-search", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, command: SearchCommand) -> None:
        """Queue a command; never blocks."""
        self._commands.put(command)

    def close(self, timeout: float = 5.0) -> None:
        """Finish queued commands, save, and end the thread; abandon a search that hangs."""
        self._commands.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
            if self._thread.is_alive():
                _logger.warning(
                    "The search %r has not come back for %.0f s; the sweep ends without it, and "
                    "its last suggestions and state are lost.",
                    self._source,
                    timeout,
                )

    def _run(self) -> None:
        if self._suggested == 0:
            self.save()  # from the initial state, a resume can repeat all suggestions
        while (command := self._commands.get()) is not None:
            try:
                self.carry_out(command)
            except Exception as error:
                error.add_note(f"The search {self._source!r} raised it.")
                self._fail(error)
                return
            if time.monotonic() >= self._next_save:
                self.save()
        self.save()

    def carry_out(self, command: SearchCommand) -> None:
        """Carry a command out now, in the calling thread.

        Raises:
            Exception: Whatever the search raises.
        """
        if isinstance(command, AskSearch):
            self._ask(command.count)
        elif isinstance(command, AdjustSearch):
            self._source.adjust(command.samples, command.max_concurrent)
        else:
            tell(self._source, command)
            self._told += 1

    def save(self) -> None:
        """Emit the state of the search as an event; warn once if the state cannot be saved."""
        if not self.can_save:
            return
        begin = time.monotonic()
        try:
            state = self._source.save_state()
        except Exception as error:
            self.can_save = False
            _logger.warning(
                "The state of the search %r cannot be saved (%s: %s). A resumed experiment repeats "
                "no trial, but the search may have forgotten what it has learnt.",
                self._source,
                type(error).__name__,
                error,
            )
            return
        self._emit(SearchSaved(time.time(), self._suggested, self._told, state))
        now = time.monotonic()
        auto = max(_SAVE_EVERY_S, (now - begin) / _SAVE_SHARE)
        self._next_save = now + (auto if self._every_s is None else self._every_s)

    def _ask(self, count: int) -> None:
        for _ in range(count):
            suggestion = self._source.next()
            if isinstance(suggestion, Suggestion):
                event = self._make_trial(suggestion, time.time(), self._told)
                self._suggested += 1
                self._emit(event)
            else:
                self._emit(SearchIdle(time.time(), finished=suggestion is FINISHED))
                return
