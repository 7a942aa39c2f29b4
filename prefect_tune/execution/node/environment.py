"""Environment variables of an attempt."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prefect_tune.execution.trial.native_threads import OMP
from prefect_tune.resources import CPU


def attempt_environment(
    resources: Mapping[str, float], devices: tuple[str, ...], chosen: Mapping[str, str]
) -> dict[str, str]:
    """What to set for an attempt.

    Args:
        resources: What is reserved for it, in units.
        devices: Its GPUs; without any it sees none.
        chosen: What the user wants; wins.
    """
    threads = max(1, math.ceil(resources.get(CPU, 1)))
    computed = {OMP: str(threads), "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    return {**computed, **chosen}
