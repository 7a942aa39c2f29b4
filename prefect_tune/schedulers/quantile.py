"""`GrowingQuantile`: a quantile of a growing collection of values."""

from __future__ import annotations

import math
from array import array
from heapq import heappop, heappush, heappushpop
from typing import Any


class GrowingQuantile:
    """A fixed quantile of a growing collection, in O(log n) per value.

    The result equals `numpy.nanpercentile` (linear interpolation) of all values to the last bit,
    including its treatment of infinities. Two heaps hold the values at and below the quantile's
    position and those above it, so that both neighbours to interpolate are on top.

    Args:
        quantile: Position in [0, 1].
    """

    __slots__ = ("_count", "_high", "_low", "_quantile")

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._count = 0
        self._low: list[float] = []  # negated: heapq keeps the smallest on top
        self._high: list[float] = []

    def __len__(self) -> int:
        return self._count

    def add(self, value: float) -> None:
        """Add a value; NaN is ignored."""
        if value != value:
            return
        low, high = self._low, self._high
        size = int(self._count * self._quantile) + 1
        self._count += 1
        if len(low) < size:
            heappush(low, -heappushpop(high, value))
            # One step is the rule; rounding can ask for two when the quantile is next to 1.
            while len(low) < size:
                heappush(low, -heappop(high))
        else:
            heappush(high, -heappushpop(low, -value))

    def value(self) -> float | None:
        """Return the quantile; None without values, NaN where numpy gives NaN for infinities."""
        count = self._count
        if not count:
            return None
        below = -self._low[0]
        if not self._high:
            return below if math.isfinite(below) else math.nan
        above = self._high[0]
        position = (count - 1) * self._quantile
        weight = position - int(position)
        distance = above - below
        # numpy goes from the nearer neighbour; so the two roundings have to agree.
        if weight < 0.5:
            return below + distance * weight
        return above - distance * (1 - weight)

    def __getstate__(self) -> tuple[Any, ...]:
        return self._quantile, self._count, array("d", self._low), array("d", self._high)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._quantile, self._count, low, high = state
        self._low, self._high = low.tolist(), high.tolist()
