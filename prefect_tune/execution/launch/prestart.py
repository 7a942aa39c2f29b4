"""Starting the zygote before anything else is ready."""

from __future__ import annotations

import os
import threading

from prefect_tune.execution.launch.spawner import AttemptSpawner

_lock = threading.Lock()
_ready: list[AttemptSpawner] = []


def _clear_in_fork() -> None:
    """In a fork: what was started is the parent's, and whoever held the lock is not here."""
    global _lock
    _lock = threading.Lock()
    _ready.clear()


os.register_at_fork(after_in_child=_clear_in_fork)


def prestart() -> None:
    """Begin to start a zygote for the next experiment of this process, unless one is starting."""
    with _lock:
        if not _ready:
            _ready.append(AttemptSpawner.prestart())


def claim() -> AttemptSpawner:
    """The spawner that was started before its time, or else a new one."""
    with _lock:
        return _ready.pop() if _ready else AttemptSpawner.prestart()


def discard() -> None:
    """End a zygote that nobody has taken."""
    with _lock:
        while _ready:
            _ready.pop().close()
