"""Ends processes that trials have started and left running."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection

#: Seconds between SIGTERM and SIGKILL.
GRACE_S = 1.0
#: Environment variable with the trial process's id, which programs it starts inherit.
TRIAL_PROCESS = "PREFECT_TUNE_TRIAL_PROCESS"
_LOOK_S = 0.01
#: Seconds to wait for processes to be gone after SIGKILL.
_GONE_S = 1.0
_PR_SET_CHILD_SUBREAPER = 36
#: File with the children of the reading thread, which has to be the main one, as it adopts orphans.
_CHILDREN = "/proc/thread-self/children"


class OrphanedProcessGroups:
    """Remaining processes of ended trials, which get SIGTERM and later SIGKILL.

    These are the trial's process group, and descendants outside the group, such as programs in
    sessions of their own, which this process adopts.

    The delay before SIGKILL is for resource trackers of multiprocessing and joblib, which ignore
    SIGTERM. When all users of shared memory have ended, the trackers remove it; if they were
    killed too, it would stay for good.
    """

    def __init__(self) -> None:
        #: Deadline by process id, or by negative id for a process group, as in `os.kill`.
        self._deadlines: dict[int, float] = {}
        #: Children that were not started by trials; None before `adopt` is called.
        self._own: set[int] | None = None

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def end(self, group: int) -> None:
        """Send SIGTERM to a process group, if it has members."""
        if _signal(-group, signal.SIGTERM):
            self._deadlines[-group] = time.monotonic() + GRACE_S

    def adopt(self) -> None:
        """Let this process adopt descendants whose parents end.

        It must be called before the first trial, and has no effect on systems that do not support
        this or do not list children.
        """
        if self._own is None and sys.platform == "linux" and os.path.exists(_CHILDREN):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._own = _children()

    def end_orphans(self, living: Collection[int] = ()) -> None:
        """Send SIGTERM to adopted descendants of trials that have ended.

        Args:
            living: Running trial processes, whose descendants are not ended. While there are any,
                neither are processes of unknown origin.
        """
        if self._own is None:
            return
        for pid in _children().difference(self._own, living, self._deadlines):
            if os.waitpid(pid, os.WNOHANG)[0]:
                continue
            if living and _trial_of(pid) in ("", *map(str, living)):
                continue
            # Members of a group that is being ended already have the signal.
            signum = 0 if -os.getpgid(pid) in self._deadlines else signal.SIGTERM
            if _signal(pid, signum):
                self._deadlines[pid] = time.monotonic() + GRACE_S

    def kill_overdue(self) -> None:
        """Kill processes whose deadline has passed."""
        now = time.monotonic()
        for target, deadline in list(self._deadlines.items()):
            with contextlib.suppress(ChildProcessError):  # already collected
                os.waitpid(abs(target), os.WNOHANG)
            if now >= deadline:
                _signal(target, signal.SIGKILL)
            elif _signal(target, 0):
                continue
            del self._deadlines[target]

    def wait_until_gone(self) -> None:
        """Wait until all of these processes are gone, for about two seconds at most."""
        deadline = time.monotonic() + GRACE_S + _GONE_S
        while self and time.monotonic() < deadline:
            self.kill_overdue()
            self.end_orphans()
            time.sleep(_LOOK_S)


def _children() -> set[int]:
    with open(_CHILDREN, "rb") as file:
        return {int(pid) for pid in file.read().split()}


def _trial_of(pid: int) -> str:
    """Return the id of a process's trial process from its environment; "" if it has none.

    A forked process has the environment of its parent.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read().split(b"\0")
    except OSError:
        return ""
    name = f"{TRIAL_PROCESS}=".encode()
    values = (entry[len(name) :] for entry in environment if entry.startswith(name))
    return next(values, b"").decode(errors="replace")


def _signal(target: int, signum: int) -> bool:
    """Send a signal to a process or group; return False if it does not exist."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(target, signum)
        return True
    return False
