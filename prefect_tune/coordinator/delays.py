"""Trials that wait some time before they are tried again, without a slot."""

from __future__ import annotations

#: The longest wait between two tries, in seconds.
LONGEST_S = 300.0
#: The first wait after a loss that was not the first.
_LOST_S = 1.0


def delay_after(setbacks: int, lost: int, retry_delay_s: float) -> float:
    """Seconds before a trial is tried again.

    Args:
        setbacks: Attempts that failed or were lost since its last new checkpoint, >= 1.
        lost: How many of them were lost, if the last one was; else 0.
        retry_delay_s: The user's delay after the first.
    """
    delay = _doubled(retry_delay_s, setbacks - 1)
    if lost > 1:
        # A node or a store that is gone often takes a while to come back.
        delay = max(delay, _doubled(_LOST_S, lost - 2))
    return delay


def _doubled(delay: float, times: int) -> float:
    # 2.0 ** 30 is far beyond any limit, and does not overflow.
    return min(LONGEST_S, delay * 2.0 ** min(times, 30)) if delay > 0 else 0.0


class Delays:
    """Which trials are not to be launched before a time."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def hold(self, trial_id: str, until: float) -> None:
        """Hold a trial back until then, in seconds since the epoch."""
        self._until[trial_id] = until

    def holds(self, trial_id: str) -> bool:
        """True if a trial has to wait."""
        return trial_id in self._until

    def until(self, trial_id: str) -> float | None:
        """When a trial may run again, None if it may now."""
        return self._until.get(trial_id)

    def release(self, now: float) -> None:
        """Let go of those whose time has come."""
        if self._until:
            self._until = {name: until for name, until in self._until.items() if until > now}

    def remove(self, trial_id: str) -> None:
        """A trial will not run again."""
        self._until.pop(trial_id, None)

    def clear(self) -> None:
        """Let go of all."""
        self._until.clear()
