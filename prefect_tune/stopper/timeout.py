"""Stop the experiment after a wall-clock time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.stopper.stopper import Stopper
from prefect_tune.validation import is_number, seconds_from


class TimeoutStopper(Stopper):
    """Stops the experiment after a wall-clock time.

    Time is counted from the first call of `on_time`. Without calls of `on_time`, it is counted by
    the `timestamp` of results; the two are not mixed, since clocks of hosts differ.

    Args:
        timeout: Seconds, or a `datetime.timedelta`.
        argument: The name used in errors.

    Raises:
        InvalidArgument: If `timeout` is not a finite time above 0.
    """

    def __init__(self, timeout: Any, argument: str = "timeout") -> None:
        self._budget = seconds_from(argument, timeout)
        self._elapsed = 0.0
        self._last: float | None = None
        self._is_told = False

    @property
    def budget(self) -> float:
        """The time after which the experiment stops, in seconds."""
        return self._budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: only `stop_all` ends trials. Without `on_time`, count the result's time."""
        timestamp = result.get("timestamp")
        if not self._is_told and timestamp is not None and is_number(timestamp):
            self._advance(float(timestamp))
        return False

    def stop_all(self) -> bool:
        """Return True once the time is over."""
        return self._elapsed >= self._budget

    def run_until(self, trial_id: str) -> RunUntil:
        """Return that trials never wait; the engine ends running trials when the time is over."""
        return NEVER

    def on_time(self, now: float) -> None:
        """Count the time since the last call."""
        if not self._is_told:
            self._is_told = True
            self._last = None
        self._advance(now)

    def on_resume(self, now: float) -> None:
        """Count time from `now` on."""
        self._last = now

    def get_state(self) -> dict[str, Any]:
        """Return the time counted so far, without the budget, which a resume may change."""
        return {"elapsed": self._elapsed, "last": self._last, "is_told": self._is_told}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the time counted so far from a state of `get_state`."""
        self._elapsed = state["elapsed"]
        self._last = state["last"]
        self._is_told = state["is_told"]

    def _advance(self, now: float) -> None:
        # A clock that is set back does not reduce the time counted so far.
        if self._last is None or now > self._last:
            self._elapsed += 0.0 if self._last is None else now - self._last
            self._last = now
