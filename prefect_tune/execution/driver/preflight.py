"""Checks whether any node could run a trial with the requested resources."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Mapping

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.placement import Placer
from prefect_tune.error import InsufficientResources
from prefect_tune.resources import CPU, GPU, MILLI, Resources, canonical_name

_logger = logging.getLogger(__name__)
# Dask adds floats: twenty times 0.05 is more than 1. The coordinator's sums are
# exact, and a request that the coordinator has placed must also fit for Dask.
_DRIFT = 1 - 1e-9


def _hint(name: str, in_process: bool) -> str:
    """Return a hint how to provide resources that no node has."""
    workers = f"start workers with `dask worker ... --resources '{name}=2'`."
    if name == GPU:
        if in_process:
            return f" Declare GPUs with tune.init(num_gpus=...), or {workers}"
        return f" S{workers[1:]}"
    if in_process:
        return f" Leave {name} out, or declare it with tune.init(resources={{{name!r}: ...}})."
    return f" Leave {name} out, or {workers}"


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
    alike = Counter(nodes.values())
    placer = Placer()
    placer.update((Node(address, has) for address, has in nodes.items()), ())
    if placer.could_ever_fit(request):
        return
    listed = "; ".join(
        f"{_address_of(has, nodes)} has {has}" if count == 1 else f"{count} nodes have {has} each"
        for has, count in alike.items()
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
        raise InsufficientResources(
            f"`resources_per_trial`: {what} asks for {bundle}, which no node has: {listed}."
            f"{''.join(_hint(name, in_process) for name in nowhere)}"
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


def _address_of(resources: Resources, nodes: Mapping[str, Resources]) -> str:
    return next(address for address, has in nodes.items() if has == resources)


def real_gpus(address: str, has: Resources, visible: int) -> Resources:
    """Return a worker's resources without declared GPUs that do not exist.

    If it sees none at all, they stay: trials get made-up ids, which is of use in tests.

    Args:
        address: Address of the worker.
        has: The declared resources.
        visible: How many GPUs the worker can use.
    """
    declared = has.get_milli(GPU)
    if declared <= visible * MILLI:
        return has
    _tell_of_missing_gpus(address, declared / MILLI, visible)
    return Resources.of(**{**has, GPU: float(visible)}) if visible else has


@functools.cache
def _tell_of_missing_gpus(address: str, declared: float, visible: int) -> None:
    _logger.warning(
        "The worker at %s declares %g GPUs and sees %s (CUDA_VISIBLE_DEVICES, /dev/nvidia*). %s",
        address,
        declared,
        visible or "none",
        f"{visible} of them will be used."
        if visible
        else "Trials that ask for one get a made-up id, with which CUDA finds nothing.",
    )


def dask_constraint(request: Resources, declared: Mapping[str, float]) -> dict[str, float]:
    """Return a request as Dask resources, under the names that a worker has declared."""
    wanted = {name: request.get_milli(canonical_name(name)) for name in declared}
    return {name: milli / MILLI * _DRIFT for name, milli in wanted.items() if milli}
