"""Environment variables of an attempt."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Mapping

from prefect_tune.execution.native_threads import OMP, VARIABLES
from prefect_tune.resources import CPU

_NANNYS_CHILD = "Dask Worker process"


def driver_thread_variables() -> dict[str, str]:
    """The sizes of native thread pools that the user has chosen, by setting them for the driver.

    Empty in a process of Dask's own, whose nanny has set them for its own ends.
    """
    if multiprocessing.current_process().name.startswith(_NANNYS_CHILD):
        return {}
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


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
