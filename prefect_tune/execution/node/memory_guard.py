"""`MemoryGuard`: ends trials that use more memory than their share.

Host memory is held by a cgroup where the worker may create one. Elsewhere, and for the memory of
GPUs, the guard looks once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from prefect_tune.execution.protocol.reports import NodeWarning
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.nvml import Gpu, gpu_memory
from prefect_tune.resources import GPU, MEMORY, MILLI, Resources

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_WORKER = "prefect_tune-worker"
_PERIOD_S = 1.0
#: How many periods pass between two looks at worker and trials together.
_TOTAL_PERIODS = 5
_OVER_LIMIT = (
    "trials and worker use {used} together, more than the worker's memory limit of {limit}. Dask "
    "holds that limit against the worker's own process only. Give trials a share, e.g. "
    '`resources_per_trial={{"memory": 2e9}}`: then as many run at once as there is memory for, and '
    "one that uses more is ended."
)


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


@dataclass(eq=False)
class MemoryShare:
    """The memory that a trial's process and its descendants may use.

    Attributes:
        pid: The process.
        host: Bytes of host memory; 0 for any amount.
        gpus: Bytes of the memory of each GPU of which the trial has a share, by UUID.
        group: The cgroup that limits host memory, if any.
        end: Called with the error when they use more.
    """

    pid: int
    host: int = 0
    gpus: dict[str, int] = field(default_factory=dict)
    group: TrialCgroup | None = None
    end: Callable[[AttemptError], None] = lambda error: None

    def overflow(self) -> AttemptError | None:
        """Return the error of a trial that the kernel has killed for its use of memory."""
        if self.group is None or not self.group.has_overflowed:
            return None
        return _error(f"needed more memory than its share of {_gb(self.host)}", MEMORY)


@dataclass(eq=False)
class MemoryGuard:
    """Watches the memory of the attempts of one experiment, for the node's event loop.

    Args:
        limit: The worker's own limit in bytes, None for none. Dask applies it to the worker's
            process only; a warning tells when worker and trials use more.
        gpus: The GPUs whose memory is watched, by their ids.
        tell: Called with the warning.
    """

    limit: int | None
    gpus: Mapping[str, Gpu]
    tell: Callable[[NodeWarning], None]
    _shares: set[MemoryShare] = field(init=False, default_factory=set)
    _emptied: list[TrialCgroup] = field(init=False, default_factory=list)
    _may_group: bool = True

    def share(self, pid: int, resources: Resources, devices: Sequence[str]) -> MemoryShare:
        """Watch a process and its descendants from now on; the caller sets `end`."""
        host = int(resources.get(MEMORY, 0))
        part = resources.get_milli(GPU)
        gpus = [self.gpus[device] for device in devices if device in self.gpus]
        shares = {gpu.uuid: gpu.total * part // MILLI for gpu in gpus if part < MILLI}
        share = MemoryShare(pid, host, shares)
        if host and self._may_group:
            share.group = TrialCgroup.create(pid, host)
            self._may_group = share.group is not None
        if share.host or share.gpus:
            self._shares.add(share)
        return share

    def release(self, share: MemoryShare) -> None:
        """Watch a share no more, because its process has ended or has another attempt."""
        self._shares.discard(share)
        if share.group is not None and not share.group.remove():
            self._emptied.append(share.group)

    async def run(self) -> None:
        """Look periodically until cancelled."""
        periods = 0
        while True:
            self._emptied = [group for group in self._emptied if not group.remove()]
            if self._shares:
                shares = tuple(self._shares)
                for share, error in await asyncio.to_thread(_find_excess, shares):
                    if share in self._shares:
                        self._shares.discard(share)
                        share.end(error)
            if self.limit and periods % _TOTAL_PERIODS == 0:
                used = await asyncio.to_thread(_used_by_all, self.limit)
                if used > self.limit:
                    text = _OVER_LIMIT.format(used=_gb(used), limit=_gb(self.limit))
                    self.tell(NodeWarning(text))
                    self.limit = None
            periods += 1
            await asyncio.sleep(_PERIOD_S)


def _find_excess(shares: Sequence[MemoryShare]) -> list[tuple[MemoryShare, AttemptError]]:
    """Return the shares that are exceeded, and the error of each."""
    families: dict[int, list[psutil.Process]] = {share.pid: [] for share in shares}
    owner = {pid: pid for pid in families}
    for process in psutil.Process().children(recursive=True):  # parents before their children
        with contextlib.suppress(psutil.Error):
            pid = owner.get(process.pid) or owner.get(process.ppid())
            if pid is not None:
                owner[process.pid] = pid
                families[pid].append(process)
    uuids = {uuid for share in shares for uuid in share.gpus}
    on_gpus = {uuid: gpu_memory(uuid) for uuid in uuids}
    excess = []
    for share in shares:
        used = _used(families[share.pid], share.host) if share.host else 0
        if used > share.host:
            error = _error(f"used {_gb(used)} of memory; its share is {_gb(share.host)}", MEMORY)
            excess.append((share, error))
            continue
        pids = {process.pid for process in families[share.pid]}
        for uuid, limit in share.gpus.items():
            memory = on_gpus[uuid]
            users = {} if memory is None else memory.processes
            used = sum(amount or 0 for pid, amount in users.items() if pid in pids)
            if used > limit:
                text = f"used {_gb(used)} of the memory of {uuid}; its share is {_gb(limit)}"
                excess.append((share, _error(text, "gpu")))
                break
    return excess


def _error(what: str, resource: str) -> AttemptError:
    return AttemptError(
        "memory", f'the trial {what} (`resources_per_trial={{"{resource}": ...}}`), and was ended'
    )


def _gb(amount: int) -> str:
    return f"{amount / 1e9:.3g} GB"


def _used_by_all(limit: int) -> int:
    """Return how many bytes this process and its descendants use."""
    this = psutil.Process()
    return _used([this, *this.children(recursive=True)], limit)


def _used(processes: Sequence[psutil.Process], limit: int) -> int:
    used = sum(_memory_of(process, "rss") for process in processes)
    # Forks share pages, which only "pss" counts once; it is slow to read.
    return used if used <= limit else sum(_memory_of(process, "pss") for process in processes)


def _memory_of(process: psutil.Process, kind: str) -> int:
    try:
        if kind == "pss":
            info = process.memory_full_info()
            return int(getattr(info, "pss", info.rss))
        return int(process.memory_info().rss)
    except psutil.Error:  # the process has ended
        return 0
