"""The driver's environment: variables that the user has set, and a Dask task that it runs in."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from pathlib import Path

import dask
from distributed import get_worker, secede
from distributed.comm import resolve_address

from prefect_tune.execution.trial.native_threads import VARIABLES

_NANNYS_CHILD = "Dask Worker process"


def driver_thread_variables() -> dict[str, str]:
    """Return the variables for native thread pools that the user has set for the driver.

    A nanny sets these variables for its worker, in its own process. Variables that it leaves
    there, and that its worker inherits, were not set by the user.
    """
    if multiprocessing.current_process().name.startswith(_NANNYS_CHILD):
        return {}
    left_behind = {
        name: str(value)
        for name, value in dask.config.get("distributed.nanny.pre-spawn-environ", {}).items()
        if name not in _environment_at_start()
    }
    return {
        name: os.environ[name]
        for name in VARIABLES
        if name in os.environ and os.environ[name] != left_behind.get(name)
    }


def _environment_at_start() -> set[str]:
    """Return the names of the variables that this process was started with, if known."""
    try:
        content = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {entry.split(b"=", 1)[0].decode(errors="replace") for entry in content.split(b"\0")}


def secede_from_task(scheduler: str) -> None:
    """Release the thread of a surrounding Dask task on the same cluster.

    As `distributed.worker_client` does: the trials may need the worker that waits for them.

    Args:
        scheduler: Address of the cluster's scheduler.
    """
    try:
        worker = get_worker()
    except ValueError:  # not in a task
        return
    if resolve_address(worker.scheduler.address) == resolve_address(scheduler):
        with contextlib.suppress(KeyError):  # an earlier sweep of the same task has
            secede()
