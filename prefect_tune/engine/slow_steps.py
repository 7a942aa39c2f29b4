"""Says when user code holds the sweep up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__)


class SlowSteps:
    """Times the steps of the loop that call user code.

    Args:
        threshold_s: Seconds from which on a step is told about, once for each kind; 0 never does.
        clock: Tells the seconds.
        meanwhile: What that means, for people.
    """

    def __init__(
        self,
        threshold_s: float,
        clock: Callable[[], float] = time.monotonic,
        meanwhile: str = "the sweep waits meanwhile",
    ) -> None:
        self._threshold_s = threshold_s
        self._clock = clock
        self._meanwhile = meanwhile
        self._told: set[str] = set()

    @contextmanager
    def watch(self, kind: str, events: int) -> Iterator[None]:
        """Time a step.

        Args:
            kind: Who is called, in the plural.
            events: How many events it is about.
        """
        begin = self._clock()
        yield
        seconds = self._clock() - begin
        if 0 < self._threshold_s <= seconds and kind not in self._told:
            self._told.add(kind)
            _logger.warning(
                "%s took %.1f s for %d event%s; %s. This is told once (TUNE_WARN_THRESHOLD_S).",
                kind,
                seconds,
                events,
                "" if events == 1 else "s",
                self._meanwhile,
            )
