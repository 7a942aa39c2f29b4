"""Doing to a sweep what its scenario says."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.s3.fault_proxy import FaultProxy
from tests.s3.faults import INTERNAL_ERROR, SLOW_DOWN, CutDownload, CutUpload, Drop, LoseAnswer

from . import processes
from .scenario import Kind, Strike
from .services import DaskCluster, PrefectServer

_BALLAST = "ballast"
_SHARE = 0.08


@dataclass
class Targets:
    """What strikes hit.

    Attributes:
        flow: Process id of the flow process.
        cluster: The Dask cluster, if it is not inside the flow process.
        prefect: The Prefect server, if there is one.
        proxy: The road to S3, if the run uses it.
        disk: The root of the small disk, if the run has one.
        results: The directory that is lost with the machine.
    """

    flow: int
    cluster: DaskCluster | None
    prefect: PrefectServer | None
    proxy: FaultProxy | None
    disk: Path | None
    results: Path

    @property
    def roots(self) -> list[int]:
        """The processes below which trials are."""
        return [self.flow] if self.cluster is None else self.cluster.pids


@dataclass
class Striker:
    """Carries strikes out and ends those that last.

    Args:
        rng: Chooses victims.
        done: Counts what was done, by kind.
    """

    rng: random.Random
    done: Counter[Kind] = field(default_factory=Counter)
    _ends: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def strike(self, strike: Strike, targets: Targets) -> bool:
        """Do it; False if there was nothing to hit."""
        hit = self._hit(strike, targets)
        self.done[strike.kind] += hit
        return hit

    def tend(self, at_once: bool = False) -> None:
        """End what has lasted long enough, or all of it."""
        now = time.monotonic()
        due = [end for end in self._ends if at_once or end[0] <= now]
        self._ends = [end for end in self._ends if end not in due]
        for _, end in due:
            end()

    def _hit(self, strike: Strike, targets: Targets) -> bool:
        match strike.kind:
            case Kind.TRIAL:
                return self._kill_one(processes.trials(targets.roots))
            case Kind.ZYGOTE:
                return self._kill_one(processes.zygotes(targets.roots))
            case Kind.FLOW:
                return _kill(targets.flow)
            case Kind.WORKER if targets.cluster is not None:
                targets.cluster.kill_worker(self.rng.randrange(2))
                return True
            case Kind.SCHEDULER if targets.cluster is not None:
                targets.cluster.kill_scheduler()
                return True
            case Kind.PREFECT if targets.prefect is not None:
                targets.prefect.kill()
                return True
            case Kind.STORAGE_ERRORS if targets.proxy is not None:
                self._disturb(targets.proxy, strike.lasting)
                return True
            case Kind.STORAGE_AWAY if targets.proxy is not None:
                targets.proxy.go_away()
                self._later(strike.lasting, targets.proxy.come_back)
                return True
            case Kind.DISK_FULL if targets.disk is not None:
                _fill(targets.disk / _BALLAST)
                ballast = targets.disk / _BALLAST
                self._later(strike.lasting, lambda: ballast.unlink(missing_ok=True))
                return True
            case Kind.MACHINE:
                return _lose_machine(targets)
        return False

    def _kill_one(self, victims: list[psutil.Process]) -> bool:
        return bool(victims) and processes.kill(self.rng.choice(victims))

    def _disturb(self, proxy: FaultProxy, seconds: float) -> None:
        for fault in (SLOW_DOWN, INTERNAL_ERROR, Drop(), LoseAnswer(), CutUpload(), CutDownload()):
            proxy.inject(fault, probability=_SHARE)
        self._later(seconds, proxy.clear)

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))


def _kill(pid: int) -> bool:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _lose_machine(targets: Targets) -> bool:
    if not _kill(targets.flow):
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        # Not `wait`: its exit status belongs to the one who has started it.
        while psutil.Process(targets.flow).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    if targets.cluster is not None:
        for number in range(2):
            targets.cluster.kill_worker(number)
    shutil.rmtree(targets.results, ignore_errors=True)
    targets.results.mkdir(parents=True, exist_ok=True)
    return True


def _fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    os.sync()
