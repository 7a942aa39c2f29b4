"""Delays before trials are tried again; a delayed trial holds no slot."""

from __future__ import annotations

#: The longest wait between two tries, in seconds.
LONGEST_S = 300.0
#: The wait after the second lost attempt in a row, doubled with each further one.
_LOST_S = 1.0


def delay_after(setbacks: int, lost: int, retry_delay_s: float) -> float:
    """Return the seconds to wait before a trial is tried again.

    Args:
        setbacks: Attempts that failed or were lost since the trial's last new checkpoint, >= 1.
        lost: How many of them were lost, if the last one was; else 0.
        retry_delay_s: The user's delay after the first failure.
    """
    delay = _doubled(retry_delay_s, setbacks - 1)
    if lost > 1:
        # A lost node or an unreachable store often takes a while to come back.
        delay = max(delay, _doubled(_LOST_S, lost - 2))
    return delay


def _doubled(delay: float, times: int) -> float:
    # The exponent is limited because 2.0 ** 1024 overflows.
    return min(LONGEST_S, delay * 2.0 ** min(times, 30)) if delay > 0 else 0.0


class Delays:
    """The times before which trials must not be launched."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def delay(self, trial_id: str, until: float) -> None:
        """Do not launch a trial before a time, in seconds since the epoch."""
        self._until[trial_id] = until

    def is_delayed(self, trial_id: str) -> bool:
        """Return True if a trial must not be launched yet."""
        return trial_id in self._until

    def until(self, trial_id: str) -> float | None:
        """Return the time before which a trial must not be launched; None if there is none."""
        return self._until.get(trial_id)

    def remove_expired(self, now: float) -> None:
        """Remove the delays that have ended by `now`."""
        if self._until:
            self._until = {name: until for name, until in self._until.items() if until > now}

    def remove(self, trial_id: str) -> None:
        """Remove the delay of a trial that will not run again."""
        self._until.pop(trial_id, None)

    def clear(self) -> None:
        """Remove all delays."""
        self._until.clear()
