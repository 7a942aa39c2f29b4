"""A sweep that is itself a task of the cluster that it runs on."""

from __future__ import annotations

import contextlib

from distributed import get_worker, secede
from distributed.comm import resolve_address


def step_aside(scheduler: str) -> None:
    """Give the thread of the surrounding Dask task back, if it is one of this cluster.

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
