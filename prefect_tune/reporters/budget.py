"""How many lines may be printed: a burst at once, and then so many a second."""

from __future__ import annotations

import time

_TELL_S = 10.0


class LineBudget:
    """A token bucket, so that nothing that trials do can flood a terminal or a log file.

    Args:
        burst: Lines that may come at once.
        per_s: Lines that come to that every second, up to `burst`.
    """

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = self._left = float(burst)
        self._per_s = per_s
        self._at = time.monotonic()
        self._refused = 0
        self._told = self._at

    def allow(self, lines: int = 1) -> bool:
        """Return True if so many lines may be printed now."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < lines:
            self._refused += lines
            return False
        self._left -= lines
        return True

    def refuse(self, lines: int) -> None:
        """Count lines that somebody else has refused."""
        self._refused += lines

    def untold(self, last: bool = False) -> int:
        """How many refused lines there are to tell about: 0 if that was done a moment ago.

        Args:
            last: Nobody will ask again.
        """
        if not self._refused:
            return 0
        now = time.monotonic()
        if not last and now - self._told < _TELL_S:
            return 0
        self._told = now
        refused, self._refused = self._refused, 0
        return refused
