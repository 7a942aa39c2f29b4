"""Starts a Dask cluster in this process, or connects to one that already exists."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import distributed
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.deploy import Cluster

from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.cluster.gpus import visible_gpus
from prefect_tune.execution.cluster.handle import ClusterHandle
from prefect_tune.resources import CPU, GPU

if TYPE_CHECKING:
    from prefect_tune.execution.cluster.api import LocalOptions

_BLOCK = "block://"
_TIMEOUT_S = 10.0
_PROTOCOLS = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")
_ACCEPTED = (
    "Give None (this machine), an address such as 'tcp://10.0.0.1:8786', a scheduler file, a "
    "cluster object of Dask or one with get_client(), a synchronous distributed.Client or a "
    "DaskCluster block."
)
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


def join_cluster(cluster: Any) -> ClusterHandle:
    """Connect to a cluster with a new client, so that the user's own client is not changed.

    Raises:
        InvalidArgument: If `cluster` is no address, file, cluster, client or block.
        ClusterError: If the cluster does not answer in time.
    """
    if isinstance(cluster, str) and cluster.startswith(_BLOCK):
        # Imported by name, because this package must not import Prefect.
        blocks = importlib.import_module("prefect_tune.blocks")
        cluster = blocks.load_cluster(cluster.removeprefix(_BLOCK))
    elif isinstance(cluster, os.PathLike) or (
        isinstance(cluster, str)
        and "://" not in cluster
        and (cluster.endswith(".json") or os.path.isfile(cluster))
    ):
        cluster = _read_scheduler_file(Path(cluster))
    elif isinstance(cluster, str):
        cluster = _check_address(cluster)
    if hasattr(cluster, "open_client"):  # a `DaskCluster` block
        stack = contextlib.ExitStack()
        return ClusterHandle(stack.enter_context(cluster.open_client()), stack.close)
    client = connect_client(cluster)
    return ClusterHandle(client, client.close)


def connect_client(cluster: Any, security: Any = None) -> Client:
    """Connect a new client to an address, a cluster object, or the cluster of a client.

    Args:
        cluster: One of these.
        security: What `distributed.Client` takes as its security, for an address.

    Raises:
        InvalidArgument: If `cluster` is something else.
        ClusterError: If no scheduler answers within 10 s, or certificates are missing.
    """
    if isinstance(cluster, str):
        return _connect(cluster, cluster, security)
    if isinstance(cluster, Client):
        _check_usable(cluster)
        return _connect(cluster.scheduler.address, cluster.scheduler.address, cluster.security)
    get_client = getattr(cluster, "get_client", None)
    address = getattr(cluster, "scheduler_address", None)
    if isinstance(cluster, Cluster) or (get_client is None and isinstance(address, str)):
        _check_usable(cluster)
        return _connect(cluster, address, security)
    if get_client is None:
        raise InvalidArgument("cluster", f"got {type(cluster).__name__}.", _ACCEPTED)
    _check_usable(cluster)
    # dask-gateway's makes a new client at each call; others, like Dask's own, may keep theirs.
    is_new = "set_as_default" in inspect.signature(get_client).parameters
    try:
        client: Client = get_client(**({"set_as_default": False} if is_new else {}))
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        raise ClusterError(
            f"`cluster`: {type(cluster).__name__}.get_client() does not connect: {error!r}"
        ) from error
    return client if is_new else connect_client(client)


def _connect(target: Any, address: Any, security: Any) -> Client:
    client_log = logging.getLogger("distributed.client")
    level = client_log.level
    # Dask logs each failed try with a traceback; the error below says it once.
    client_log.setLevel(logging.CRITICAL)
    try:
        return Client(target, timeout=_TIMEOUT_S, set_as_default=False, security=security)
    except TypeError as error:
        if "ssl" not in str(error):  # what Dask raises for missing certificates
            raise ClusterError(
                f"`cluster`: the scheduler at {address} has a version of Dask that does not get "
                f"along with distributed {distributed.__version__} here: {error}."
            ) from error
        raise ClusterError(
            f"`cluster`: {address} asks for TLS, and there are no certificates for it ({error}). "
            "Give a distributed.Client made with security=Security(tls_ca_file=..., "
            "tls_client_cert=..., tls_client_key=...), or set distributed.comm.tls in Dask's "
            "configuration."
        ) from error
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"`cluster`: no Dask scheduler answers at {address} ({error}). Check that "
            "`dask scheduler` runs there, that host and port are right and that no firewall is in "
            "the way; a scheduler with TLS needs a tls:// address and certificates."
        ) from error
    finally:
        client_log.setLevel(level)


def _read_scheduler_file(path: Path) -> str:
    """Read the address from a file of ``dask scheduler --scheduler-file``."""
    try:
        return _check_address(json.loads(path.read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise ClusterError(
            f"`cluster`: there is no scheduler file {str(path)!r}: `dask scheduler "
            "--scheduler-file` writes it when it has started."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(
            "cluster", f"{str(path)!r} is no scheduler file of Dask ({error!r}).", _ACCEPTED
        ) from None


def _check_address(address: str) -> str:
    if address.startswith("ray://") or address == "auto":
        raise InvalidArgument("cluster", f"{address!r} is an address of Ray.", _ACCEPTED)
    if not address.strip():
        raise InvalidArgument("cluster", f"{address!r} is an empty text.", _ACCEPTED)
    full = address if "://" in address else f"tcp://{address}"
    if not full.startswith(_PROTOCOLS):
        raise InvalidArgument(
            "cluster", f"{address!r} is not the address of a Dask scheduler.", _ACCEPTED
        )
    return full


def _check_usable(cluster: Any) -> None:
    """Refuse a client or cluster object that is asynchronous, or that does not run."""
    kind = "client" if isinstance(cluster, Client) else type(cluster).__name__
    if getattr(cluster, "asynchronous", False):
        raise InvalidArgument(
            "cluster",
            f"the {kind} is asynchronous; a run would block its event loop.",
            "Make it with asynchronous=False, or give its address.",
        )
    status = getattr(cluster, "status", "running")
    status = getattr(status, "name", status)  # clusters of Dask's own have an enum
    if status != "running":
        raise ClusterError(f"`cluster`: the {kind} is {status}. Give one that runs.")


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
