"""Limit of printed lines: a burst at once, and then so many a second."""

from __future__ import annotations

import time

_REPORT_EVERY_S = 10.0


class LineBudget:
    """A token bucket for printed lines, so that trials cannot flood a terminal or a log file.

    Args:
        burst: Lines that may be printed at once.
        per_s: Lines added to the budget every second, up to `burst`.
    """

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = self._tokens = float(burst)
        self._per_s = per_s
        self._updated_at = time.monotonic()
        self._refused = 0
        self._reported_at = self._updated_at

    def allow(self, lines: int = 1) -> bool:
        """Spend the budget for some lines and return True, or count them as refused."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_s)
        self._updated_at = now
        if self._tokens < lines:
            self._refused += lines
            return False
        self._tokens -= lines
        return True

    def count_refused(self, lines: int) -> None:
        """Count lines that the caller did not print."""
        self._refused += lines

    def count_to_report(self, last: bool = False) -> int:
        """Return how many refused lines to report now, at most every 10 s, and reset the count.

        Args:
            last: True for the last call, which does not wait for the 10 s.
        """
        if not self._refused:
            return 0
        now = time.monotonic()
        if not last and now - self._reported_at < _REPORT_EVERY_S:
            return 0
        self._reported_at = now
        refused, self._refused = self._refused, 0
        return refused
