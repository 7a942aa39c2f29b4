"""The processes that trials leave behind, which end with them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection

#: Seconds that they have for ending in order.
GRACE_S = 1.0
#: Names the trial process, in its environment and so in that of the programs that it starts.
TRIAL_PROCESS = "PREFECT_TUNE_TRIAL_PROCESS"
_LOOK_S = 0.01
#: Seconds within which processes are gone after SIGKILL.
_GONE_S = 1.0
_PR_SET_CHILD_SUBREAPER = 36
#: Those of the thread that reads it, the main one, to which orphans go.
_CHILDREN = "/proc/thread-self/children"


class OrphanedProcessGroups:
    """What is left of trials that have ended; it gets SIGTERM, later SIGKILL.

    That is the trial's process group, and its descendants outside of it, such as programs in
    sessions of their own, once this process has adopted them.

    The moment between is for the resource trackers of multiprocessing and joblib, which ignore
    SIGTERM. When all who used shared memory have gone, they remove what these have left in it;
    killed with the others, they would leave it there for good.
    """

    def __init__(self) -> None:
        #: By what `os.kill` takes: processes, and groups as negative numbers.
        self._deadlines: dict[int, float] = {}
        #: Children of this process that no trial has started; None as long as it adopts nobody.
        self._own: set[int] | None = None

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def end(self, group: int) -> None:
        """Begin to end a group; one without members costs next to nothing."""
        if _signal(-group, signal.SIGTERM):
            self._deadlines[-group] = time.monotonic() + GRACE_S

    def adopt(self) -> None:
        """Have descendants of this process become its children when their parents end.

        To be called before the first trial, and of no effect where the system cannot do that or
        does not tell who they are.
        """
        if self._own is None and sys.platform == "linux" and os.path.exists(_CHILDREN):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._own = _children()

    def end_orphans(self, living: Collection[int] = ()) -> None:
        """Begin to end the adopted descendants of trials that have ended.

        Args:
            living: Trial processes; what a living one has started goes on, as well as what does not
                say who has started it. If there is none, all end.
        """
        if self._own is None:
            return
        for pid in _children().difference(self._own, living, self._deadlines):
            if os.waitpid(pid, os.WNOHANG)[0]:
                continue
            if living and _trial_of(pid) in ("", *map(str, living)):
                continue
            # Members of a group that is being ended have got the signal.
            signum = 0 if -os.getpgid(pid) in self._deadlines else signal.SIGTERM
            if _signal(pid, signum):
                self._deadlines[pid] = time.monotonic() + GRACE_S

    def look(self) -> None:
        """Kill those whose time is over."""
        now = time.monotonic()
        for target, deadline in list(self._deadlines.items()):
            with contextlib.suppress(ChildProcessError):  # it is collected
                os.waitpid(abs(target), os.WNOHANG)
            if now >= deadline:
                _signal(target, signal.SIGKILL)
            elif _signal(target, 0):
                continue
            del self._deadlines[target]

    def finish(self) -> None:
        """Wait for all of them to be gone, which takes a second or two at most."""
        deadline = time.monotonic() + GRACE_S + _GONE_S
        while self and time.monotonic() < deadline:
            self.look()
            self.end_orphans()
            time.sleep(_LOOK_S)


def _children() -> set[int]:
    with open(_CHILDREN, "rb") as file:
        return {int(pid) for pid in file.read().split()}


def _trial_of(pid: int) -> str:
    """The trial process that a process descends from, as its environment says; "" if it does not.

    A fork has the environment of the program that it is a fork of.
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
    """Send a signal to a process or group; False if there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(target, signum)
        return True
    return False
