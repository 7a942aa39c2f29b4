"""Retries requests to a file system, within time limits."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prefect_tune.error import StorageUnavailable
from prefect_tune.filesystem.failures import FailureKind, classify

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

    def on_success(self) -> None:
        """Note that a request has succeeded."""


@dataclass(eq=False)
class Retry:
    """Retries requests that fail temporarily.

    Args:
        limits: When to give up.
        cancelled: Once it is set, nothing is retried.
        watch: Is notified of outages, which are also logged.
    """

    limits: Limits
    cancelled: threading.Event
    watch: OutageWatch | None = None
    _warned_at: float = -_WARN_EVERY_S

    def begin(self) -> Call:
        """Start the time limit of one call of a store's method."""
        total = self.limits.total_s
        return Call(self, math.inf if total is None else time.monotonic() + total)

    def warn(self, message: str) -> None:
        """Log why a request takes long, at most once a minute."""
        if self.watch is not None:
            self.watch.on_failure(message)
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            log.warning("%s", message)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store's method, which may make many requests in several threads."""

    retry: Retry
    deadline: float

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
            StorageUnavailable: If the call is cancelled or its time is up.
            StorageError: If a retry cannot help; the message says what can.
        """
        begun = time.monotonic()
        limits = self.retry.limits
        longest = limits.first_delay_s
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
                delay = min(longest, limits.max_delay_s) * random.uniform(0.5, 1.0)
                longest *= 2
                now = time.monotonic()
                elapsed = now - begun
                is_late = elapsed + delay > limits.outage_s or now + delay > self.deadline
                if is_late or self.retry.cancelled.wait(delay):
                    raise StorageUnavailable(
                        f"cannot {doing} {url}: {failure.text}. Gave up after {tries} "
                        f"{'try' if tries == 1 else 'tries'} in {elapsed:.0f} s."
                    ) from error
                if elapsed >= _WARN_AFTER_S:
                    self.retry.warn(
                        f"Cannot {doing} {url} for {elapsed:.0f} s now ({failure.text}); trying "
                        f"for up to {limits.outage_s:.0f} s."
                    )
            else:
                if self.retry.watch is not None:
                    self.retry.watch.on_success()
                return answer

    def _allowed(self, size: int) -> float:
        """Return the seconds that the next try may take, if there may be one."""
        limits = self.retry.limits
        left = self.deadline - time.monotonic()
        if self.retry.cancelled.is_set():
            raise StorageUnavailable("the transfer was given up: the run is ending.")
        if left <= 0:
            raise StorageUnavailable(
                f"the transfer was given up: it took longer than {limits.total_s:.0f} s."
            )
        return max(min(max(limits.request_s, size / 2**18), left), 0.1)
