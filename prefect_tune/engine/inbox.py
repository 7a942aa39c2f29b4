"""Where all events arrive, from whatever thread."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from prefect_tune.coordinator.events import ControlReceived, Event, ResultReported

#: Results, and events of other kinds, from which on nodes are not asked for more.
LIMIT = 2000


class Inbox:
    """A thread-safe queue of events that is emptied in batches.

    It is never closed to anybody, but says when it is full: nodes are asked for more only when it
    is not. What somebody asks of the sweep, e.g. to end, comes before all that waits.

    Args:
        limit: Weight from which on it is full.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        # Signal handlers put as well, maybe in the middle of a `put`: hence these two.
        self._queue: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        self._urgent: deque[ControlReceived] = deque()
        # Raised by the next `next_batch`.
        self._error: Exception | None = None
        self._lock = threading.RLock()
        self._weight = 0
        self._waiting: list[Callable[[], None]] = []

    def put(self, event: Event) -> None:
        """Add an event; never blocks."""
        if isinstance(event, ControlReceived):
            self._urgent.append(event)
            self._queue.put(None)
            return
        with self._lock:
            self._weight += _weight(event)
        self._queue.put(event)

    def fail(self, error: Exception) -> None:
        """Have the engine raise an error that happened on another thread."""
        self._queue.put(error)

    @property
    def full(self) -> bool:
        """True while so much waits that nobody should be asked for more."""
        return self._weight >= self._limit

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume`, once and from another thread, when it is not full any more."""
        with self._lock:
            if self.full:
                self._waiting.append(resume)
                return
        resume()

    def next_batch(self, timeout: float, limit: int = LIMIT) -> list[Event]:
        """Wait for an event and return it with those that have arrived behind it.

        Args:
            timeout: Seconds to wait for the first one.
            limit: Weight of events from which on no more are returned at once.

        Returns:
            Events in order of arrival; [] if none came in time.

        Raises:
            Exception: What was handed to `fail`, once all events that came before it were returned.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        events: list[Event] = []
        weight = 0
        try:
            item = self._queue.get(timeout=timeout)
            while True:
                if isinstance(item, Exception):
                    if not events and not self._urgent:
                        raise item
                    self._error = item
                    break
                if item is not None:
                    events.append(item)
                    weight += _weight(item)
                if weight >= limit or (item is None and not events):
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        self._taken(weight)
        return [*self.urgent(), *events]

    def urgent(self) -> list[Event]:
        """What somebody asks of the sweep, without what else waits."""
        events: list[Event] = []
        while self._urgent:
            events.append(self._urgent.popleft())
        return events

    def rest(self) -> list[Event]:
        """What has arrived and was not taken, at the end; errors are left out."""
        events = self.urgent()
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is not None and not isinstance(item, Exception):
                events.append(item)
        self._taken(sum(map(_weight, events)))
        return events

    def _taken(self, weight: int) -> None:
        with self._lock:
            self._weight -= weight
            resumed: list[Callable[[], None]] = []
            if not self.full:
                resumed, self._waiting = self._waiting, []
        for resume in resumed:
            resume()


def _weight(event: Event) -> int:
    if isinstance(event, ControlReceived):
        return 0
    return len(event.results) if isinstance(event, ResultReported) else 1
