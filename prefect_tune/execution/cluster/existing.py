"""Connects to a Dask cluster that already exists."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import logging
import os
from pathlib import Path
from typing import Any

import distributed
from distributed import Client
from distributed.deploy import Cluster

from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.cluster.handle import ClusterHandle

_BLOCK = "block://"
_TIMEOUT_S = 10.0
_PROTOCOLS = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")
_ACCEPTED = (
    "Give None (this machine), an address such as 'tcp://10.0.0.1:8786', a scheduler file, a "
    "cluster object of Dask or one with get_client(), a synchronous distributed.Client or a "
    "DaskCluster block."
)


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
