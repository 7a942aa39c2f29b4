"""The queues of the engine's loop: of events to it, and of calls to callbacks, loggers, reporters.

The loop's thread adds calls and never waits for one to end; before it takes more events, it asks
whether the queue of calls has room. The thread that called the sweep makes the calls in order.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from prefect_tune.coordinator.events import ControlReceived, Event, ResultReported

#: Number of waiting results and other events from which on nodes are not asked for more.
LIMIT = 2000
#: Number of waiting notices from which on there is no room. The last batch may exceed it.
NOTICE_LIMIT = 1000


class Inbox:
    """A thread-safe queue of events that is emptied in batches.

    `put` always accepts an event, but callers ask nodes for more only while the inbox is not
    `full`. Control requests, such as to end the sweep, are returned before all other events.

    Args:
        limit: Weight of waiting events from which on the inbox is full; each result weighs 1.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        # A signal handler may call `put` in the middle of a `put`: these two need no lock.
        self._queue: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        self._urgent: deque[ControlReceived] = deque()
        # `next_batch` raises it once it has returned the events before it.
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
        """Make `next_batch` raise an error that happened in another thread."""
        self._queue.put(error)

    @property
    def full(self) -> bool:
        """True while as many events wait as the limit allows."""
        return self._weight >= self._limit

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, from any thread, as soon as the inbox is not full."""
        with self._lock:
            if self.full:
                self._waiting.append(resume)
                return
        resume()

    def next_batch(self, timeout: float, limit: int = LIMIT) -> list[Event]:
        """Wait for an event and return it together with the events that have arrived after it.

        Args:
            timeout: Seconds to wait for the first event.
            limit: Weight at which a batch ends.

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
        self._subtract(weight)
        return [*self.pop_control_events(), *events]

    def pop_control_events(self) -> list[Event]:
        """Remove and return the control requests; all other events go on waiting."""
        events: list[Event] = []
        while self._urgent:
            events.append(self._urgent.popleft())
        return events

    def drain(self) -> list[Event]:
        """Remove and return all events without waiting, and drop errors."""
        events = self.pop_control_events()
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is not None and not isinstance(item, Exception):
                events.append(item)
        self._subtract(sum(map(_weight, events)))
        return events

    def _subtract(self, weight: int) -> None:
        """Count returned events as gone, and call the waiting `when_room` callbacks if it fits."""
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


class NoticeQueue:
    """A queue of functions that one thread adds and another one calls in order.

    Args:
        limit: Weight of unfinished work from which on the queue has no room.
    """

    def __init__(self, limit: int = NOTICE_LIMIT) -> None:
        self._limit = limit
        self._work: deque[tuple[Callable[[], None], int]] = deque()
        self._weight = 0  # including the work that runs
        self._changed = threading.Condition()
        self._closed = False
        self._problem: BaseException | None = None

    def put(self, work: Callable[[], None], weight: int) -> None:
        """Add a function that `serve` is to call; never waits."""
        with self._changed:
            self._work.append((work, weight))
            self._weight += weight
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """True if no work waits."""
        return not self._work

    def has_room(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the queue has room; False if it stays full."""
        with self._changed:
            return self._changed.wait_for(lambda: self._weight < self._limit, timeout)

    def close(self, problem: BaseException | None = None) -> None:
        """Let `serve` return once all work is done; no work may be added afterwards.

        Args:
            problem: What `serve` raises at the end instead of returning.
        """
        with self._changed:
            self._closed = True
            self._problem = problem
            self._changed.notify_all()

    def serve(self) -> None:
        """Call the functions of the queue in this thread until the queue is closed.

        Raises:
            BaseException: What a function raises, or the problem that `close` was given.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._closed)
                if not self._work:
                    break
                work, weight = self._work.popleft()
            work()
            with self._changed:
                self._weight -= weight
                self._changed.notify_all()
        if self._problem is not None:
            raise self._problem
