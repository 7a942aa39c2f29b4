"""`TrialCgroup`: a cgroup (version 2) that holds a trial to its share of memory.

The kernel lets a cgroup with processes have no children that memory is divided among. So the
processes of this worker move into a child of their own first.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_WORKER = "prefect_tune-worker"


class TrialCgroup:
    """Cgroup of one attempt.

    Args:
        path: The directory of the cgroup, which exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, pid: int, limit: int) -> TrialCgroup | None:
        """Create a cgroup for a process and those that it will start.

        Args:
            pid: The process.
            limit: Bytes of memory that they may use together; the kernel kills all if they need
                more.

        Returns:
            The cgroup; None if this worker may not create one.
        """
        try:
            parent = _divided_cgroup()
            if parent is None:
                return None
            group = cls(parent / f"prefect_tune-trial-{pid}")
            group._path.mkdir(exist_ok=True)
        except OSError:
            return None
        try:
            group._write("memory.max", str(limit))
            group._write("memory.oom.group", "1")
            with contextlib.suppress(OSError):  # there is no swap
                group._write("memory.swap.max", "0")
            group._write("cgroup.procs", str(pid))
        except OSError:
            group.remove()
            return None
        return group

    @property
    def has_overflowed(self) -> bool:
        """True if the kernel has killed processes because they needed more memory."""
        with contextlib.suppress(OSError):
            events = dict(map(str.split, (self._path / "memory.events").read_text().splitlines()))
            return int(events.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> bool:
        """Remove the cgroup; return False if it still has processes."""
        try:
            self._path.rmdir()
        except FileNotFoundError:  # another attempt of its process has removed it
            return True
        except OSError:
            return False
        return True

    def _write(self, name: str, value: str) -> None:
        (self._path / name).write_text(value)


def _divided_cgroup() -> Path | None:
    """Return the cgroup of this worker, prepared to have children with limits of memory.

    None is returned if there is no memory to be divided, or others have processes in it, too.

    Raises:
        OSError: If this process may not do so.
    """
    line = next((ln for ln in _OWN.read_text().splitlines() if ln.startswith("0::")), None)
    if line is None:
        return None
    own = _ROOT / line.removeprefix("0::").lstrip("/")
    if own.name == _WORKER:
        own = own.parent
    if "memory" not in (own / "cgroup.controllers").read_text().split():
        return None
    control = own / "cgroup.subtree_control"
    if "memory" not in control.read_text().split():
        pids = {int(pid) for pid in (own / "cgroup.procs").read_text().split()}
        if not pids <= _family(pids):
            return None
        (own / _WORKER).mkdir(exist_ok=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (own / _WORKER / "cgroup.procs").write_text(str(pid))
        control.write_text("+memory")
    return own


def _family(pids: set[int]) -> set[int]:
    """Return the ids of the outermost ancestor of this process among `pids`, and of its children.

    Those are, for example, the shell that it was started from, and the nanny.
    """
    first = psutil.Process()
    while (parent := first.parent()) is not None and parent.pid in pids:
        first = parent
    return {first.pid, *(child.pid for child in first.children(recursive=True))}
