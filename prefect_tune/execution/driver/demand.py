"""`Demand`: tells Dask's scheduler about trials that wait for resources.

An adaptive cluster grows by the tasks that its scheduler cannot run, and attempts are not submitted
before there is room for them. So tasks that no worker can ever run stand for those that wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distributed import Client

from prefect_tune.resources import CPU, MILLI, Resources

#: A resource that no worker has.
_NOWHERE = {"prefect_tune-another-worker": 1}
_MOST_TASKS = 200
#: Tolerance for rounding errors of shares.
_SLACK = 1e-6

#: The resources of workers, and the number of their threads.
Workers = Sequence[tuple[Resources, int]]


def cores(request: Resources, workers: Workers) -> int:
    """Return how many threads a trial counts for, which is the unit of Dask's scheduler."""
    if len(request.bundles) > 1:
        return sum(cores(bundle, workers) for bundle in request.bundles if bundle)
    takes = [
        max(amount / has.get_milli(name) for name, amount in request.milli) * threads
        for has, threads in workers
        if request.milli and all(has.get_milli(name) >= amount for name, amount in request.milli)
    ]
    return max(1, math.ceil(min(takes, default=request.get_milli(CPU) / MILLI) - _SLACK))


def tasks_for(
    waiting: Mapping[Resources, int], running: Iterable[Resources], workers: Workers
) -> int:
    """Return how many further tasks represent the resources that waiting trials need."""
    if not waiting:
        return 0
    wanted = sum(cores(request, workers) * count for request, count in waiting.items())
    return min(_MOST_TASKS, wanted + sum(cores(request, workers) - 1 for request in running))


class Demand:
    """Dask tasks that represent waiting trials.

    Args:
        client: The client, in whose event loop the methods are called.
        group: First part of the keys of the experiment's attempts: what Dask has learned about how
            long they run counts for these.
    """

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self._group = group
        self._tasks: list[Any] = []
        self._number = 0

    def show(self, count: int) -> None:
        """Submit or cancel tasks until there are so many."""
        # Dask drops tasks whose futures are not kept, and ends tasks that wait too long.
        self._tasks = [task for task in self._tasks if task.status == "pending"][:count]
        while len(self._tasks) < count:
            self._number += 1
            key = (self._group, "waiting", str(self._number))
            self._tasks.append(
                self._client.submit(int, key=key, resources=_NOWHERE, pure=False, retries=0)
            )
