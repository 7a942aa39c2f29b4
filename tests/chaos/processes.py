"""Finding the processes of a sweep, and ending them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

_ZYGOTE = "prefect_tune.execution.trial.zygote"


def zygotes(roots: Iterable[int]) -> list[psutil.Process]:
    """The processes that fork trials, below the given ones."""
    return [p for p in _below(roots) if _is_zygote(p) and not _is_zygote(_parent(p))]


def trials(roots: Iterable[int]) -> list[psutil.Process]:
    """The trial processes below the given ones: what zygotes have forked."""
    return [p for p in _below(roots) if _is_zygote(p) and _is_zygote(_parent(p))]


def is_trial(pid: int) -> bool:
    """Whether a process with this id lives that a zygote has forked."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and _is_zygote(process)
    return False


def kill(process: psutil.Process) -> bool:
    """SIGKILL; False if it was gone already."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _below(roots: Iterable[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(root).children(recursive=True)
    return found


def _parent(process: psutil.Process) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        parent: psutil.Process | None = process.parent()
        return parent
    return None


def _is_zygote(process: psutil.Process | None) -> bool:
    if process is None:
        return False
    with contextlib.suppress(psutil.Error):
        return any(_ZYGOTE in part for part in process.cmdline())
    return False
