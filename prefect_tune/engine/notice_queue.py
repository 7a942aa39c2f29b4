"""What is to be told to callbacks, loggers and reporters: a queue between two threads.

The engine's thread puts in and never waits for whoever is told; it asks whether there is room
before it takes more in. The thread that called the sweep tells, one thing after the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

#: Results and other notices that may wait. One more batch is let in, whatever its size.
LIMIT = 1000


class NoticeQueue:
    """Work in order, weighed.

    Args:
        limit: Weight from which on there is no room.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._work: deque[tuple[Callable[[], None], int]] = deque()
        self._weight = 0  # of what waits or is being done
        self._changed = threading.Condition()
        self._closed = False
        self._problem: BaseException | None = None

    def put(self, work: Callable[[], None], weight: int) -> None:
        """Add work; never waits."""
        with self._changed:
            self._work.append((work, weight))
            self._weight += weight
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """True if nothing waits."""
        return not self._work

    def has_room(self, timeout: float) -> bool:
        """Wait up to so many seconds until there is room; False if there is none."""
        with self._changed:
            return self._changed.wait_for(lambda: self._weight < self._limit, timeout)

    def close(self, problem: BaseException | None = None) -> None:
        """Nothing more comes.

        Args:
            problem: What `serve` raises once everything before is done.
        """
        with self._changed:
            self._closed = True
            self._problem = problem
            self._changed.notify_all()

    def serve(self) -> None:
        """Do what is put in, in this thread, until it is closed.

        Raises:
            BaseException: What the work raises, or the problem that it was closed with.
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
