"""Where all events arrive, from whatever thread."""

from __future__ import annotations

import queue

from prefect_tune.coordinator.events import Event


class Inbox:
    """A thread-safe queue of events that is emptied in batches."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        # Raised by the next `take`.
        self._error: Exception | None = None

    def put(self, event: Event) -> None:
        """Add an event; never blocks."""
        self._queue.put(event)

    def fail(self, error: Exception) -> None:
        """Have the engine raise an error that happened on another thread."""
        self._queue.put(error)

    def take(self, timeout: float, limit: int = 2000) -> list[Event]:
        """Wait for an event and return it with those that have arrived behind it.

        Args:
            timeout: Seconds to wait for the first one.
            limit: Most events returned at once.

        Returns:
            Events in order of arrival; [] if none came in time.

        Raises:
            Exception: What was handed to `fail`, once all events that came before it were returned.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        events: list[Event] = []
        try:
            item = self._queue.get(timeout=timeout)
            while True:
                if isinstance(item, Exception):
                    if not events:
                        raise item
                    self._error = item
                    break
                events.append(item)
                if len(events) >= limit:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        return events

    def rest(self) -> list[Event]:
        """What has arrived and was not taken, at the end; errors are left out."""
        events: list[Event] = []
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if not isinstance(item, Exception):
                events.append(item)
        return events
