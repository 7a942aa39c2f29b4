"""What the threads have in common that bring things into storage behind the back of the run."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable


class Outage:
    """Since when something has been failing: so that it is said once, and once that it is over."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """True from a failure to the success after it."""
        return self._since is not None

    def begin(self) -> bool:
        """It failed; True if it had not before."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def end(self) -> float | None:
        """It succeeded; for how many seconds it had failed, None if it had not."""
        if self._since is None:
            return None
        lasted = time.monotonic() - self._since
        self._since = None
        return lasted


class BackgroundWorker(ABC):
    """A thread that works until it is told to stop, while others wait for what it gets done.

    It does not keep the process alive: whatever it has not done can be done by a later run.

    Args:
        name: Of the thread.
        cancelled: Set from outside: nothing is done any more.
    """

    def __init__(self, name: str, cancelled: threading.Event | None = None) -> None:
        self._cancelled = cancelled or threading.Event()
        #: Notified at all that somebody may wait for, here or outside.
        self._changed = threading.Condition()
        self._outage = Outage()
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after what it is doing."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._cancelled.is_set()

    @abstractmethod
    def _work(self) -> None:
        """All that the thread does; returns soon once `_is_over`."""

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait for the thread; `_changed` is held by the caller.

        Args:
            done: What to wait for; asked whenever `_changed` is notified.
            timeout: Seconds to wait at most.

        Returns:
            False if time is up, or the thread has ended before.
        """
        self._changed.wait_for(lambda: done() or self._ended, timeout)
        return done()
