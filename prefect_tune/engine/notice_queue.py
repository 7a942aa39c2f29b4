"""The queue of calls to callbacks, loggers and reporters, from the engine's to the caller's thread.

The engine's thread adds calls and never waits for one to end; before it takes more events, it asks
whether the queue has room. The thread that called the sweep makes the calls in order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

#: Number of waiting notices from which on there is no room. The last batch may exceed it.
LIMIT = 1000


class NoticeQueue:
    """A queue of functions that one thread adds and another one calls in order.

    Args:
        limit: Weight of unfinished work from which on the queue has no room.
    """

    def __init__(self, limit: int = LIMIT) -> None:
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
