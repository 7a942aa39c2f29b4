"""Starts a zygote in advance, before an experiment is opened."""

from __future__ import annotations

import os
import threading

from prefect_tune.execution.launch.spawner import AttemptSpawner

_lock = threading.Lock()
_ready: list[AttemptSpawner] = []


def _clear_in_fork() -> None:
    """Drop the zygotes and the lock after a fork, because they belong to the parent."""
    global _lock
    _lock = threading.Lock()
    _ready.clear()


os.register_at_fork(after_in_child=_clear_in_fork)


def prestart() -> None:
    """Start a zygote for the next experiment of this process, unless there is one already."""
    with _lock:
        if not _ready:
            _ready.append(AttemptSpawner())


def claim() -> AttemptSpawner:
    """Return the spawner that was started in advance, or a new one."""
    with _lock:
        return _ready.pop() if _ready else AttemptSpawner()


def discard() -> None:
    """End a zygote that was started in advance and not used."""
    with _lock:
        while _ready:
            _ready.pop().close()
