"""How long and how often something is tried on a file system that may be away."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prefect_tune.error import StorageUnavailable
from prefect_tune.filesystem.failures import Failure, Kind, classify

T = TypeVar("T")

log = logging.getLogger(__name__)

_TELL_AFTER_S = 10.0
_TELL_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in seconds.

    Attributes:
        request_s: One try of one request; a part of a large file is one request.
        outage_s: How long one request is tried again before the storage counts as away.
        total_s: One whole call, such as the transfer of a directory; None leaves it to the others.
        first_delay_s: Pause before the second try; doubled each time, with jitter.
        max_delay_s: Longest pause.
    """

    request_s: float = 60.0
    outage_s: float = 120.0
    total_s: float | None = None
    first_delay_s: float = 0.2
    max_delay_s: float = 10.0


#: For what a person waits for at the terminal; who gets the error can simply try again.
FOREGROUND = Limits(request_s=20.0, outage_s=30.0)


class OutageWatch(Protocol):
    """Learns whether a storage answers; called from any thread, and often."""

    def away(self, problem: str) -> None:
        """A request has been failing for a while and is tried again."""
        ...

    def works(self) -> None:
        """A request has succeeded."""
        ...


class Retry:
    """Tries requests again while the failure may pass.

    Args:
        limits: When to give up.
        cancelled: Once set, nothing is tried again.
        watch: Learns of outages, besides the log.
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
        self._told_at = -_TELL_EVERY_S

    def begin(self) -> Call:
        """The limits of one whole call, which begin to run now."""
        total = self._limits.total_s
        deadline = None if total is None else time.monotonic() + total
        return Call(self, self._limits, self._cancelled, deadline)

    def tell(self, message: str) -> None:
        """Say why something takes long, but not for each of many requests."""
        if self._watch is not None:
            self._watch.away(message)
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            log.warning("%s", message)

    def works(self) -> None:
        """A request has succeeded."""
        if self._watch is not None:
            self._watch.works()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store's method, which may make many requests, from several threads."""

    retry: Retry
    limits: Limits
    cancelled: threading.Event
    deadline: float | None

    def run(self, doing: str, url: str, request: Callable[[float], T], size: int = 0) -> T:
        """Make a request until it succeeds, fails for good, or time is up.

        Args:
            doing: What it does, for messages: ``read``.
            url: On what.
            request: Makes one try; gets the seconds it may take.
            size: Bytes that are moved, for which a try gets more time: a second per 256 kB.

        Returns:
            What `request` returned.

        Raises:
            NotFound: If there is no such file.
            StorageUnavailable: If time is up.
            StorageError: If trying again cannot help; says what would.
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
                if failure.kind is not Kind.AWAY:
                    raise failure.as_error(doing, url) from error
                delay = self._delay(tries)
                elapsed = time.monotonic() - begun
                if self._is_over(begun, delay) or self.cancelled.wait(delay):
                    raise StorageUnavailable(
                        f"cannot {doing} {url}: {failure.text}. Gave up after {tries} "
                        f"{'try' if tries == 1 else 'tries'} in {elapsed:.0f} s."
                    ) from error
                self._tell(doing, url, failure, elapsed)
            else:
                self.retry.works()
                return answer

    def check(self) -> None:
        """See that there is time left.

        Raises:
            StorageUnavailable: If there is none.
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

    def _is_over(self, begun: float, delay: float) -> bool:
        next_try = time.monotonic() + delay
        if next_try - begun > self.limits.outage_s:
            return True
        return self.deadline is not None and next_try > self.deadline

    def _tell(self, doing: str, url: str, failure: Failure, elapsed: float) -> None:
        if elapsed >= _TELL_AFTER_S:
            self.retry.tell(
                f"Cannot {doing} {url} for {elapsed:.0f} s now ({failure.text}); trying for up to "
                f"{self.limits.outage_s:.0f} s."
            )
