"""Resources as Dask has them: whether nodes could ever run a trial, and how many trials wait."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.placement import Placer
from prefect_tune.error import InsufficientResources, InvalidArgument
from prefect_tune.resources import (
    ACCELERATOR_TYPE,
    CPU,
    GPU,
    MEMORY,
    MILLI,
    Resources,
    canonical_name,
)

if TYPE_CHECKING:
    from distributed import Client

_logger = logging.getLogger(__name__)
# Dask adds floats: twenty times 0.05 is more than 1. The coordinator's sums are
# exact, and a request that the coordinator has placed must also fit for Dask.
_DRIFT = 1 - 1e-9
_LEAST_MEMORY = 1e6
#: A resource that no worker has.
_NOWHERE = {"prefect_tune-another-worker": 1}
_MOST_TASKS = 200
#: Tolerance for rounding errors of shares.
_SLACK = 1e-6

#: The resources of workers, and the number of their threads.
Workers = Sequence[tuple[Resources, int]]


def _hint(name: str, in_process: bool, labels: Collection[str]) -> str:
    """Return a hint how to provide resources that no node has."""
    workers = f"start workers with `dask worker ... --resources '{name}=2'`."
    if name.startswith(ACCELERATOR_TYPE):
        return (
            " A worker with GPUs of a single model has a label for it, if nvidia-ml-py is installed"
            " there (`pip install 'prefect-tune[gpu]'`) and it declares GPUs. "
            + (f"There is: {', '.join(sorted(labels))}." if labels else "There is none.")
        )
    if name == GPU:
        if in_process:
            return f" Declare GPUs with tune.init(num_gpus=...), or {workers}"
        return f" S{workers[1:]}"
    if in_process:
        return f" Leave {name} out, or declare it with tune.init(resources={{{name!r}: ...}})."
    return f" Leave {name} out, or {workers}"


def check_memory(request: Resources) -> None:
    """Refuse an amount of memory with which no process starts, probably one in gigabytes.

    Raises:
        InvalidArgument: If the memory is less than 1 MB.
    """
    amount = request.get(MEMORY)
    if amount is not None and amount < _LEAST_MEMORY:
        raise InvalidArgument(
            "resources_per_trial",
            f'"{MEMORY}" is {amount:g}, which are bytes.',
            f"Give e.g. {{{MEMORY!r}: 2e9}} for 2 GB.",
        )


def check_fits(request: Resources, nodes: Mapping[str, Resources], in_process: bool = True) -> None:
    """Check that idle nodes could run a trial with these resources.

    Args:
        request: Resources of one trial.
        nodes: Resources of each node.
        in_process: Whether they are a cluster in this process, which `tune.init` describes, or one
            that somebody else has started.

    Raises:
        InsufficientResources: If they could not; says what is asked for and what there is.
    """
    alike: dict[Resources, list[str]] = {}
    for address, has in nodes.items():
        alike.setdefault(has, []).append(address)
    placer = Placer()
    placer.update((Node(address, has) for address, has in nodes.items()), ())
    if placer.could_ever_fit(request):
        return
    listed = "; ".join(
        f"{same[0]} has {has}" if len(same) == 1 else f"{len(same)} nodes have {has} each"
        for has, same in alike.items()
    )
    listed = listed or "there are no nodes"
    for number, bundle in enumerate(request.bundles):
        if placer.could_ever_fit(bundle):
            continue
        what = f"bundle {number} of a trial" if len(request.bundles) > 1 else "a trial"
        nowhere = [
            name
            for name, _ in bundle.milli
            if name != CPU and not any(has.get_milli(name) for has in alike)
        ]
        labels = {name for has in alike for name in has if name.startswith(ACCELERATOR_TYPE)}
        raise InsufficientResources(
            f"`resources_per_trial`: {what} asks for {bundle}, which no node has: {listed}."
            f"{''.join(_hint(name, in_process, labels) for name in nowhere)}"
        )
    needs = {
        "STRICT_PACK": "a single node with room for all bundles",
        "STRICT_SPREAD": f"{len([*filter(None, request.bundles)])} nodes, one for each bundle",
    }.get(request.strategy, "more room")
    raise InsufficientResources(
        f"`resources_per_trial`: a trial asks for {request}. That takes {needs}, and together "
        f"the nodes do not have it: {listed}. Ask for fewer or smaller bundles, take another "
        "strategy, or start more workers."
    )


def real_gpus(address: str, has: Resources, visible: int, others: int = 0) -> Resources:
    """Return a worker's resources without declared GPUs that it cannot have.

    If it sees none at all, they stay: trials get made-up ids, which is of use in tests.

    Args:
        address: Address of the worker.
        has: The declared resources.
        visible: How many GPUs the worker can use.
        others: How many of these other workers of the cluster have, on the same host.
    """
    declared = has.get_milli(GPU)
    if declared <= (visible - others) * MILLI:
        return has
    _warn_of_missing_gpus(address, declared / MILLI, visible, others)
    return Resources.of(**{**has, GPU: float(visible - others)}) if visible else has


@functools.cache
def _warn_of_missing_gpus(address: str, declared: float, visible: int, others: int) -> None:
    _logger.warning(
        "The worker at %s declares %g GPUs and sees %s (CUDA_VISIBLE_DEVICES, /dev/nvidia*)%s. %s",
        address,
        declared,
        visible or "none",
        f", of which other workers of the cluster on its host have {others}" if others else "",
        f"{visible - others} of them will be used."
        if visible
        else "Trials that ask for one get a made-up id, with which CUDA finds nothing.",
    )


def dask_constraint(request: Resources, declared: Mapping[str, float]) -> dict[str, float]:
    """Return a request as Dask resources, under the names that a worker has declared."""
    wanted = {name: request.get_milli(canonical_name(name)) for name in declared}
    return {name: milli / MILLI * _DRIFT for name, milli in wanted.items() if milli}


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
        """Submit or cancel tasks until `count` of them wait."""
        # Dask drops tasks whose futures are not kept, and ends tasks that wait too long.
        self._tasks = [task for task in self._tasks if task.status == "pending"][:count]
        while len(self._tasks) < count:
            self._number += 1
            key = (self._group, "waiting", str(self._number))
            self._tasks.append(
                self._client.submit(int, key=key, resources=_NOWHERE, pure=False, retries=0)
            )
