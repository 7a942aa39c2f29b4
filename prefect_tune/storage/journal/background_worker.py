"""Threads that write to storage while the run goes on: what they have in common."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

log = logging.getLogger(__name__)

_TELL_AFTER_S = 20.0


class Outage:
    """Remembers since when something fails, so that it is logged once, and once when it works."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """True from a failure to the success after it."""
        return self._since is not None

    def begin(self) -> bool:
        """Note a failure; True if it is the first since the last success."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def end(self) -> float | None:
        """Note a success; returns the seconds for which it had failed, None if it had not."""
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
        aim: What those wait for who wait long, for messages: ``the journal is in s3://...``.
        cancelled: Set from outside: nothing is done any more.
    """

    def __init__(self, name: str, aim: str, cancelled: threading.Event | None = None) -> None:
        self._aim = aim
        self._cancelled = cancelled or threading.Event()
        #: Notified at all that somebody may wait for, here or outside.
        self._changed = threading.Condition()
        self._outage = Outage()
        self._stopping = False
        self._running = False
        self._steps = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._running = True
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
                self._running = False
                self._changed.notify_all()

    def _advance(self) -> None:
        """Tell those who wait that something has been done."""
        with self._changed:
            self._steps += 1
            self._changed.notify_all()

    def _wait_until(
        self, done: Callable[[], bool], idle_s: float, total_s: float | None = None
    ) -> bool:
        """Wait for the thread; `_changed` is held by the caller.

        Args:
            done: What to wait for; asked whenever `_changed` is notified.
            idle_s: Seconds to wait at most while nothing gets done.
            total_s: Seconds to wait at most; None is as long as something gets done.

        Returns:
            False if time is up, or the thread does not run.
        """
        begun = moved = time.monotonic()
        steps = self._steps
        told = False
        while not done() and self._running:
            now = time.monotonic()
            if self._steps != steps:
                steps, moved = self._steps, now
            left = moved + idle_s - now
            if total_s is not None:
                left = min(left, begun + total_s - now)
            if left <= 0:
                return False
            if not told and now - begun >= _TELL_AFTER_S:
                told = True
                log.warning("Waiting until %s, as long as there is progress.", self._aim)
            self._changed.wait(left if told else min(left, _TELL_AFTER_S))
        return done()
