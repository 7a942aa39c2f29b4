"""Retries requests to a file system, within time limits."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prefect_tune.error import StorageUnavailable
from prefect_tune.filesystem.failures import Failure, FailureKind, classify

T = TypeVar("T")

log = logging.getLogger(__name__)

_WARN_AFTER_S = 10.0
_WARN_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of requests and retries, in seconds.

    Attributes:
        request_s: Limit of one try of one request; a part of a large file is one request.
        outage_s: How long one request is retried before the storage counts as unavailable.
        total_s: Limit of one whole call, such as the transfer of a directory; None for no limit.
        first_delay_s: Pause before the first retry; doubled each time, with jitter.
        max_delay_s: Longest pause.
    """

    request_s: float = 60.0
    outage_s: float = 120.0
    total_s: float | None = None
    first_delay_s: float = 0.2
    max_delay_s: float = 10.0


#: Short limits for requests that a user waits for, who can simply try again.
FOREGROUND = Limits(request_s=20.0, outage_s=30.0)


class OutageWatch(Protocol):
    """Observer of a storage's outages; called often and from any thread."""

    def on_failure(self, problem: str) -> None:
        """Note that a request has been failing for a while and is retried."""
        ...

    def on_success(self) -> None:
        """Note that a request has succeeded."""
        ...


class Retry:
    """Retries requests that fail temporarily.

    Args:
        limits: When to give up.
        cancelled: Once it is set, nothing is retried.
        watch: Is notified of outages, which are also logged.
    """

    def __init__(
        self,
        limits: Limits,
        cancelled: threading.Event | None = None,
        watch: OutageWatch | None = None,
    ) -> None:
        self._limits = limits
        self._cancelled = cancelled or threading.Event()
        self._watch = watch
        self._warned_at = -_WARN_EVERY_S

    def begin(self) -> Call:
        """Start the time limit of one call of a store's method."""
        total = self._limits.total_s
        deadline = None if total is None else time.monotonic() + total
        return Call(self, self._limits, self._cancelled, deadline)

    def warn(self, message: str) -> None:
        """Log why a request takes long, at most once a minute."""
        if self._watch is not None:
            self._watch.on_failure(message)
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            log.warning("%s", message)

    def on_success(self) -> None:
        """Note that a request has succeeded."""
        if self._watch is not None:
            self._watch.on_success()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store's method, which may make many requests in several threads."""

    retry: Retry
    limits: Limits
    cancelled: threading.Event
    deadline: float | None

    def run(self, doing: str, url: str, request: Callable[[float], T], size: int = 0) -> T:
        """Repeat a request until it succeeds, fails permanently, or time is up.

        Args:
            doing: Verb for messages, such as ``read``.
            url: URL of the file, for messages.
            request: Tries once; its argument is the time limit in seconds.
            size: Bytes to transfer, for which a try gets more time: a second per 256 kB.

        Returns:
            The return value of `request`.

        Raises:
            NotFound: If the file does not exist.
            StorageUnavailable: If time is up.
            StorageError: If a retry cannot help; the message says what can.
        """
        begun = time.monotonic()
        tries = 0
        while True:
            tries += 1
            allowed = self._allowed(size)
            try:
                answer = request(allowed)
            except Exception as error:
                failure = classify(error)
                if failure.kind is not FailureKind.UNAVAILABLE:
                    raise failure.as_error(doing, url) from error
                delay = self._delay(tries)
                elapsed = time.monotonic() - begun
                if self._time_is_up(begun, delay) or self.cancelled.wait(delay):
                    raise StorageUnavailable(
                        f"cannot {doing} {url}: {failure.text}. Gave up after {tries} "
                        f"{'try' if tries == 1 else 'tries'} in {elapsed:.0f} s."
                    ) from error
                self._warn(doing, url, failure, elapsed)
            else:
                self.retry.on_success()
                return answer

    def check(self) -> None:
        """Check that the call may make another request.

        Raises:
            StorageUnavailable: If the call is cancelled or its time is up.
        """
        if self.cancelled.is_set():
            raise StorageUnavailable("the transfer was given up: the run is ending.")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise StorageUnavailable(
                f"the transfer was given up: it took longer than {self.limits.total_s:.0f} s."
            )

    def _allowed(self, size: int) -> float:
        self.check()
        allowed = max(self.limits.request_s, size / 2**18)
        if self.deadline is not None:
            allowed = min(allowed, self.deadline - time.monotonic())
        return max(allowed, 0.1)

    def _delay(self, tries: int) -> float:
        longest = min(
            self.limits.max_delay_s, self.limits.first_delay_s * 2.0 ** min(tries - 1, 30)
        )
        return longest * random.uniform(0.5, 1.0)

    def _time_is_up(self, begun: float, delay: float) -> bool:
        next_try = time.monotonic() + delay
        if next_try - begun > self.limits.outage_s:
            return True
        return self.deadline is not None and next_try > self.deadline

    def _warn(self, doing: str, url: str, failure: Failure, elapsed: float) -> None:
        if elapsed >= _WARN_AFTER_S:
            self.retry.warn(
                f"Cannot {doing} {url} for {elapsed:.0f} s now ({failure.text}); trying for up to "
                f"{self.limits.outage_s:.0f} s."
            )
