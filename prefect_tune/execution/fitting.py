"""Whether a request fits anywhere at all."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_tune.error import InsufficientResources
from prefect_tune.resources import GPU, Resources

_GPU_HINT = (
    " Declare GPUs with tune.init(num_gpus=...), or start workers with "
    "`dask worker ... --resources 'GPU=2'`."
)


def check_fits(request: Resources, nodes: Mapping[str, Resources]) -> None:
    """See whether some node, when idle, could run a trial that asks for this.

    Args:
        request: What one trial asks for.
        nodes: What each node has.

    Raises:
        InsufficientResources: If none could; says what is asked for and what there is.
    """
    for has in nodes.values():
        if all(has.get_milli(name) >= amount for name, amount in request.milli):
            return
    no_gpus = request.get_milli(GPU) and not any(has.get_milli(GPU) for has in nodes.values())
    listed = "; ".join(f"{address} has {has}" for address, has in nodes.items())
    raise InsufficientResources(
        f"`resources_per_trial`: a trial asks for {request}, which no node has: "
        f"{listed or 'there are no nodes'}.{_GPU_HINT if no_gpus else ''}"
    )
