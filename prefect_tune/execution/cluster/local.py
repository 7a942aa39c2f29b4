"""Starts a Dask cluster in this process: scheduler, worker and client in a background thread."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from prefect_tune.execution.cluster.gpus import visible_gpus
from prefect_tune.execution.cluster.handle import ClusterHandle
from prefect_tune.resources import CPU, GPU

if TYPE_CHECKING:
    from prefect_tune.execution.cluster.api import LocalOptions

#: Dask settings for a cluster that runs trials.
PRESET = {
    # A task that Dask repeats would be an attempt that the coordinator does not know.
    "distributed.scheduler.allowed-failures": 0,
    # Attempts are pinned to a worker, so Dask must not move them.
    "distributed.scheduler.work-stealing": False,
    # Dask's history of a task takes kilobytes.
    "distributed.admin.low-level-log-length": 100,
    # Trials are separate processes, so their worker must not be killed because of memory.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
_UNSEEN = "127.0.0.1:0"


def start_local_cluster(options: LocalOptions) -> ClusterHandle:
    """Start a local cluster, which takes milliseconds and no further process."""
    cpus = CPU_COUNT if options.num_cpus is None else options.num_cpus
    gpus = len(visible_gpus()) if options.num_gpus is None else options.num_gpus
    _keep_quiet()
    with dask.config.set(PRESET):
        cluster = LocalCluster(
            n_workers=1,
            processes=False,
            # For other tasks only, because attempts do not use threads.
            threads_per_worker=max(1, math.ceil(cpus)),
            memory_limit=0,
            resources={CPU: cpus, GPU: gpus, **options.resources},
            dashboard_address=options.dashboard_address,
            worker_dashboard_address=_UNSEEN,
            # Without a dashboard Dask still serves status pages, by default on a fixed port.
            scheduler_kwargs=({} if options.dashboard_address else {"dashboard_address": _UNSEEN}),
            silence_logs=logging.CRITICAL,
        )
    # The user's own Dask computations must not use this cluster by default.
    client = Client(cluster, set_as_default=False)

    def shutdown() -> None:
        loop = client.loop.asyncio_loop
        loop.call_soon_threadsafe(loop.set_exception_handler, _on_late_exception)
        client.close()
        cluster.close()

    has_dashboard = options.dashboard_address is not None
    return ClusterHandle(client, shutdown, has_dashboard=has_dashboard, can_grow=False)


def _on_late_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio says about a loop that ends, except for batches of Dask that time out then.

    Dask's `BatchedSend` waits with a time limit for something to send. A wait whose limit is up
    when the loop ends is never looked at again, of which asyncio tells on standard error.
    """
    is_unseen = "future" in context and "never retrieved" in context.get("message", "")
    if not (is_unseen and isinstance(context.get("exception"), TimeoutError)):
        loop.default_exception_handler(context)


def _keep_quiet() -> None:
    """Hide Dask's log lines about starting and stopping.

    `silence_logs` reaches Dask's own handlers only, and where logging was set up before Dask was
    loaded, as Prefect does, there are none. A level from the user's Dask configuration stays.
    """
    if dask.config.get("logging", None) is None:
        logger = logging.getLogger("distributed")
        logger.setLevel(max(logger.level, logging.WARNING))
