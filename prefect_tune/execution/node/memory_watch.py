"""Whether a worker and the trials on it use more memory than the worker is to have.

Dask holds a worker's limit against the worker's own process, and trials are processes of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil

from prefect_tune.execution.protocol.reports import NodeWarning

_PERIOD_S = 5.0


async def watch_memory(limit: int, tell: Callable[[NodeWarning], None]) -> None:
    """Tell once when this process and all below it use more than the limit.

    Args:
        limit: Bytes.
        tell: Takes what to say.
    """
    while (used := await asyncio.to_thread(_used, limit)) <= limit:
        await asyncio.sleep(_PERIOD_S)
    text = (
        f"trials and worker use {used / 1e9:.1f} GB together, more than the worker's memory limit "
        f"of {limit / 1e9:.1f} GB. Dask holds that limit against the worker's own process, so "
        "nothing ends trials before the machine is out of memory. Let fewer of them run at once, "
        "e.g. by `resources_per_trial`."
    )
    tell(NodeWarning(text))


def _used(limit: int) -> int:
    """Bytes that this process and all below it use."""
    this = psutil.Process()
    processes = [this, *this.children(recursive=True)]
    used = sum(_of(process, "rss") for process in processes)
    # Forks share pages, which only this counts once, and it takes a while.
    return used if used <= limit else sum(_of(process, "pss") for process in processes)


def _of(process: psutil.Process, kind: str) -> int:
    try:
        if kind == "pss":
            info = process.memory_full_info()
            return int(getattr(info, "pss", info.rss))
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0
