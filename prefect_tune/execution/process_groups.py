"""The processes that trials leave behind, which end with them."""

from __future__ import annotations

import contextlib
import os
import signal
import time

#: Seconds that they have for ending in order.
GRACE_S = 1.0
_LOOK_S = 0.01


class LeftBehind:
    """Groups of child processes whose first one has ended; they get SIGTERM, later SIGKILL.

    The moment between is for the resource trackers of multiprocessing and joblib, which ignore
    SIGTERM. When all who used shared memory have gone, they remove what these have left in it;
    killed with the others, they would leave it there for good.
    """

    def __init__(self) -> None:
        self._deadlines: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def end(self, group: int) -> None:
        """Begin to end a group; one without members costs next to nothing."""
        if _signal(group, signal.SIGTERM):
            self._deadlines[group] = time.monotonic() + GRACE_S

    def look(self) -> None:
        """Kill those whose time is over."""
        now = time.monotonic()
        for group, deadline in list(self._deadlines.items()):
            with contextlib.suppress(ChildProcessError):  # it is collected
                os.waitpid(group, os.WNOHANG)
            if now >= deadline:
                _signal(group, signal.SIGKILL)
            elif _signal(group, 0):
                continue
            del self._deadlines[group]

    def finish(self) -> None:
        """Wait for all of them to be gone, which takes a second at most."""
        while self:
            self.look()
            time.sleep(_LOOK_S)


def _signal(group: int, signum: int) -> bool:
    """Send a signal to a group; False if there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)
        return True
    return False
