"""Warnings about user code that delays the sweep."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__)


class SlowSteps:
    """Times steps of the loop that call user code, and warns about slow ones.

    Args:
        threshold_s: Seconds from which on a step is slow; 0 never warns. Each kind is warned about
            once.
        clock: Returns the time in seconds.
    """

    def __init__(self, threshold_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold_s = threshold_s
        self._clock = clock
        self._warned: set[str] = set()

    @contextmanager
    def watch(
        self, kind: str, events: int, meanwhile: str = "the sweep waits meanwhile"
    ) -> Iterator[None]:
        """Time the body of the `with` statement, and warn if it was slow.

        Args:
            kind: What user code is called, in the plural.
            events: How many events it handles.
            meanwhile: What a slow step delays, for the warning.
        """
        begin = self._clock()
        yield
        seconds = self._clock() - begin
        if 0 < self._threshold_s <= seconds and kind not in self._warned:
            self._warned.add(kind)
            _logger.warning(
                "%s took %.1f s for %d event%s; %s. This is logged once (TUNE_WARN_THRESHOLD_S).",
                kind,
                seconds,
                events,
                "" if events == 1 else "s",
                meanwhile,
            )
