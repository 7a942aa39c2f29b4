"""Calls arbitrary functions on the cluster, with Dask's annotations.

Dask itself is imported only by those who use it.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from prefect_tune.error import InsufficientResources

if TYPE_CHECKING:
    from prefect_tune.execution.cluster.handle import ClusterHandle


def current_annotations() -> dict[str, Any]:
    """Return the annotations of the surrounding ``with dask.annotate(...)``; {} without one."""
    if "dask" not in sys.modules:
        return {}
    from dask.base import get_annotations

    return dict(get_annotations())


def run_coroutine_function(
    function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
) -> Any:
    """Call an ``async def`` function in a worker's thread and wait for its result."""
    return asyncio.run(function(*args, **kwargs))


def submit_body(
    cluster: ClusterHandle,
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Future[Any]:
    """Call a function on the cluster.

    Args:
        cluster: The cluster to run on.
        function: The function; pickled.
        args: Positional arguments.
        kwargs: Keyword arguments.
        annotations: As for `dask.annotate`: ``resources``, ``workers``, ``priority``, ...

    Returns:
        Resolves to what the function returns or raises.

    Raises:
        InsufficientResources: If no worker declares the resources asked for: Dask would wait for
            one for ever.
    """
    import dask

    annotations = annotations or {}
    _check_resources(cluster, annotations.get("resources") or {})
    call = functools.partial(function, *args, **(kwargs or {}))
    with dask.annotate(**annotations):
        task = cluster.client.submit(call, pure=False)

    async def result() -> Any:
        return await task

    return asyncio.run_coroutine_threadsafe(result(), cluster.client.loop.asyncio_loop)


def _check_resources(cluster: ClusterHandle, wanted: Mapping[str, float]) -> None:
    if not wanted:
        return
    workers = cluster.workers().values()
    for worker in workers:
        if all(worker.declared.get(name, 0) >= amount for name, amount in wanted.items()):
            return
    listed = "; ".join(f"{worker.address} declares {worker.declared}" for worker in workers)
    raise InsufficientResources(
        f"`resources`: a task is annotated with {dict(wanted)}, which no worker declares: {listed}"
    )
