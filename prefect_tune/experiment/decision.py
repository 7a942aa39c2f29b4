"""How far a trial may run before the scheduler or a stopper has to decide about it.

A trial streams its reports without waiting, except where a scheduler or a stopper could end or
pause it. `RunUntil` names those points in a form that the trial can check by itself: it waits at
the first report whose value of any named metric has reached its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from prefect_tune.experiment.message import message


class Action(StrEnum):
    """The decision that a trial gets when it waits at a report."""

    CONTINUE = "CONTINUE"
    SAVE = "SAVE"  #: go on, and save a checkpoint first; only class trainables can be asked
    PAUSE = "PAUSE"
    STOP = "STOP"


@message(frozen=True, slots=True)
class RunUntil:
    """The reports at which a trial waits for a decision.

    Attributes:
        thresholds: ``(metric, value)`` pairs; nested metrics are named with ``/``. The trial waits
            at the first report in which any of them is >= its value, or is missing or not finite.
        every_result: True waits at each report.
    """

    thresholds: tuple[tuple[str, float], ...] = ()
    every_result: bool = False

    def __or__(self, other: RunUntil) -> RunUntil:
        """Return the points at which either waits."""
        if self.every_result or other.every_result:
            return EVERY_RESULT
        if not other.thresholds:
            return self
        if not self.thresholds:
            return other
        lowest = dict(self.thresholds)
        for metric, value in other.thresholds:
            lowest[metric] = min(value, lowest.get(metric, value))
        return RunUntil(tuple(lowest.items()))

    def reached(self, flat_result: Mapping[str, Any]) -> bool:
        """Return True if a report with these (flattened) metrics has to wait for a decision."""
        if self.every_result:
            return True
        for metric, value in self.thresholds:
            reported = flat_result.get(metric)
            # The coordinator decides about a metric that is missing, no number or not finite.
            if not isinstance(reported, (int, float)) or not -math.inf < reported < value:
                return True
        return False


#: Wait at each report, for schedulers and stoppers that do not name the points of their decisions.
EVERY_RESULT = RunUntil(every_result=True)
#: Never wait: FIFO without stopping criteria.
NEVER = RunUntil()
