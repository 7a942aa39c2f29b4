"""Connects to a Dask cluster that already exists."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from distributed import Client, Status
from distributed.deploy import Cluster

from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.cluster.handle import ClusterHandle

_BLOCK = "block://"
_TIMEOUT_S = 10.0
_PROTOCOLS = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")
_ACCEPTED = (
    "Give None (this machine), an address such as 'tcp://10.0.0.1:8786', a scheduler file, a Dask "
    "cluster object, a synchronous distributed.Client or a DaskCluster block."
)


def join_cluster(cluster: Any) -> ClusterHandle:
    """Connect to a cluster with a new client, so that the user's own client is not changed.

    Raises:
        InvalidArgument: If `cluster` is no address, file, cluster, client or block.
        ClusterError: If the cluster does not answer in time.
    """
    arguments: dict[str, Any] = {}
    if isinstance(cluster, str) and cluster.startswith(_BLOCK):
        # Imported by name, because this package must not import Prefect.
        blocks = importlib.import_module("prefect_tune.blocks")
        return _open_described(blocks.load_cluster(cluster.removeprefix(_BLOCK)))
    if isinstance(cluster, os.PathLike) or (
        isinstance(cluster, str)
        and "://" not in cluster
        and (cluster.endswith(".json") or os.path.isfile(cluster))
    ):
        target: Any = _read_scheduler_file(Path(cluster))
    elif isinstance(cluster, str):
        target = _check_address(cluster)
    elif hasattr(cluster, "open_client"):  # a `DaskCluster` block
        return _open_described(cluster)
    elif isinstance(cluster, Client):
        _refuse_asynchronous(cluster)
        if cluster.status != "running":
            raise ClusterError(f"`cluster`: the client is {cluster.status}. Give a connected one.")
        target = cluster.scheduler.address
        arguments = {"security": cluster.security}
    elif isinstance(cluster, Cluster):
        _refuse_asynchronous(cluster)
        if cluster.status != Status.running:
            raise ClusterError(
                f"`cluster`: the {type(cluster).__name__} is {cluster.status.name}. Give one that "
                "runs."
            )
        target = cluster
    else:
        raise InvalidArgument("cluster", f"got {type(cluster).__name__}.", _ACCEPTED)
    address = target if isinstance(target, str) else target.scheduler_address
    client = connect_client(target, address, arguments)
    return ClusterHandle(client, client.close)


def _open_described(block: Any) -> ClusterHandle:
    """Open the cluster that a block describes, to be closed with the handle."""
    stack = contextlib.ExitStack()
    return ClusterHandle(stack.enter_context(block.open_client()), stack.close)


def connect_client(target: Any, address: str, arguments: dict[str, Any]) -> Client:
    """Connect a client to an address or a cluster object.

    Raises:
        ClusterError: If no scheduler answers within 10 s, or certificates are missing.
    """
    client_log = logging.getLogger("distributed.client")
    level = client_log.level
    # Dask logs each failed try with a traceback; the error below says it once.
    client_log.setLevel(logging.CRITICAL)
    try:
        return Client(target, timeout=_TIMEOUT_S, set_as_default=False, **arguments)
    except TypeError as error:  # Dask raises this for missing certificates
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


def _refuse_asynchronous(cluster: Any) -> None:
    if cluster.asynchronous:
        raise InvalidArgument(
            "cluster",
            f"the {type(cluster).__name__} is asynchronous; a run would block its event loop.",
            "Make it with asynchronous=False, or give its address.",
        )
