"""A wall-clock budget for the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.stopper.stopper import Stopper
from prefect_tune.validation import is_number, seconds_from


class TimeoutStopper(Stopper):
    """Stops the experiment when its time is over.

    Time is counted from the first `on_time`. As long as nobody calls that, the `timestamp` of the
    results serves; not both, as results may come from hosts whose clocks differ.

    Args:
        timeout: Seconds, or a `datetime.timedelta`.
        argument: The name used in errors.

    Raises:
        InvalidArgument: If it is not a finite time above 0.
    """

    def __init__(self, timeout: Any, argument: str = "timeout") -> None:
        self._budget = seconds_from(argument, timeout)
        self._elapsed = 0.0
        self._last: float | None = None
        self._is_told = False

    @property
    def budget(self) -> float:
        """Seconds in all."""
        return self._budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False: it is the experiment that ends, by `stop_all`."""
        timestamp = result.get("timestamp")
        if not self._is_told and timestamp is not None and is_number(timestamp):
            self._advance(float(timestamp))
        return False

    def stop_all(self) -> bool:
        """Return True once the time is over."""
        return self._elapsed >= self._budget

    def run_until(self, trial_id: str) -> RunUntil:
        """Never: running trials are told when the time is over."""
        return NEVER

    def on_time(self, now: float) -> None:
        """Count the time since the last call."""
        if not self._is_told:
            self._is_told = True
            self._last = None
        self._advance(now)

    def on_resume(self, now: float) -> None:
        """Count on from `now`."""
        self._last = now

    def get_state(self) -> dict[str, Any]:
        """How much time is used up; the budget may be another after a resume."""
        return {"elapsed": self._elapsed, "last": self._last, "is_told": self._is_told}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with this much time used up."""
        self._elapsed = state["elapsed"]
        self._last = state["last"]
        self._is_told = state["is_told"]

    def _advance(self, now: float) -> None:
        # Clocks are set back now and then; time is not given back.
        if self._last is None or now > self._last:
            self._elapsed += 0.0 if self._last is None else now - self._last
            self._last = now
