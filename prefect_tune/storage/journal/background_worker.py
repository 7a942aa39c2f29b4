"""Base class of threads that write to storage during a run."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

log = logging.getLogger(__name__)

_WARN_AFTER_S = 20.0


class Outage:
    """Tracks how long an operation has been failing, so that each outage is logged only once."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """True between a failure and the next success."""
        return self._since is not None

    def begin(self) -> bool:
        """Record a failure; return True if it is the first since the last success."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def end(self) -> float | None:
        """Record a success; return how many seconds the outage lasted, None if there was none."""
        if self._since is None:
            return None
        lasted = time.monotonic() - self._since
        self._since = None
        return lasted


class BackgroundWorker(ABC):
    """Thread that works until it is stopped, and that others can wait for.

    The thread does not keep the process alive: a later run can do the work that is left.

    Args:
        name: Name of the thread.
        goal: What callers wait for, for a warning: ``the journal is in s3://...``.
        cancelled: Event that ends the thread from outside.
    """

    def __init__(self, name: str, goal: str, cancelled: threading.Event | None = None) -> None:
        self._goal = goal
        self._cancelled = cancelled or threading.Event()
        #: Notified after every change that the thread or a caller may wait for.
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
        """Ask the thread to end after its current step."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def _must_end(self) -> bool:
        return self._stopping or self._cancelled.is_set()

    @abstractmethod
    def _work(self) -> None:
        """Do the work of the thread; return soon after `_must_end` becomes true."""

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._changed:
                self._running = False
                self._changed.notify_all()

    def _note_progress(self) -> None:
        """Tell waiting callers that a step is done."""
        with self._changed:
            self._steps += 1
            self._changed.notify_all()

    def _wait_until(
        self, done: Callable[[], bool], idle_s: float, total_s: float | None = None
    ) -> bool:
        """Wait until `done` is true or the thread makes no progress; the caller holds `_changed`.

        Args:
            done: The condition to wait for, checked whenever `_changed` is notified.
            idle_s: Seconds to wait at most without progress.
            total_s: Seconds to wait at most; None waits as long as there is progress.

        Returns:
            False if time is up, or the thread is not running.
        """
        begun = progressed = time.monotonic()
        steps = self._steps
        warned = False
        while not done() and self._running:
            now = time.monotonic()
            if self._steps != steps:
                steps, progressed = self._steps, now
            left = progressed + idle_s - now
            if total_s is not None:
                left = min(left, begun + total_s - now)
            if left <= 0:
                return False
            if not warned and now - begun >= _WARN_AFTER_S:
                warned = True
                log.warning("Waiting until %s, as long as there is progress.", self._goal)
            self._changed.wait(left if warned else min(left, _WARN_AFTER_S))
        return done()
