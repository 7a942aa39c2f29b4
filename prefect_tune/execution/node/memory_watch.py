"""Warns when a worker and its trials use more memory than the worker's limit.

Dask applies a worker's limit to the worker's own process only, and trials are other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil

from prefect_tune.execution.protocol.reports import NodeWarning

_PERIOD_S = 5.0


async def watch_memory(limit: int, tell: Callable[[NodeWarning], None]) -> None:
    """Warn once when this process and its descendants use more memory than the limit.

    Args:
        limit: The limit in bytes.
        tell: Called with the warning.
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
    """Return how many bytes this process and its descendants use."""
    this = psutil.Process()
    processes = [this, *this.children(recursive=True)]
    used = sum(_of(process, "rss") for process in processes)
    # Forks share pages, which only "pss" counts once; it is slow to read.
    return used if used <= limit else sum(_of(process, "pss") for process in processes)


def _of(process: psutil.Process, kind: str) -> int:
    try:
        if kind == "pss":
            info = process.memory_full_info()
            return int(getattr(info, "pss", info.rss))
        return int(process.memory_info().rss)
    except psutil.Error:  # the process has ended
        return 0
