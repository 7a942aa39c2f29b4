"""Waits until the memory of a GPU is free again."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from typing import NamedTuple

_logger = logging.getLogger("prefect_tune")
_SMI_TIMEOUT_S = 30.0
_QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.used,memory.total"]


class _Gpu(NamedTuple):
    """Number, UUID and memory (in MiB) of a GPU."""

    number: str
    uuid: str
    used: float
    total: float


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: float = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until a GPU's memory is free, which may take a while after a process has ended.

    Args:
        gpu_id: Index or UUID; by default the first GPU that this process may use.
        target_util: Share of the GPU's memory that may be in use.
        retry: How many times to check.
        delay_s: Seconds between two checks.
        gpu_memory_limit: MiB that may be in use, in place of `target_util`.

    Returns:
        True.

    Raises:
        RuntimeError: If the GPU is still in use after the last check, or does not exist.
    """
    wanted = _first_visible() if gpu_id is None else str(gpu_id).strip()
    for check in range(max(1, retry)):
        gpu = _find(wanted)
        busy = (
            gpu.used > gpu_memory_limit
            if gpu_memory_limit is not None
            else (gpu.used / gpu.total > target_util)
        )
        if not busy:
            return True
        _logger.info(
            "GPU %s: %.0f of %.0f MiB are in use; checking again in %g s.",
            wanted,
            gpu.used,
            gpu.total,
            delay_s,
        )
        if check < retry - 1:
            time.sleep(delay_s)
    raise RuntimeError(
        f"GPU {wanted} is not free after {retry} checks: {gpu.used:.0f} of {gpu.total:.0f} MiB are "
        "in use."
    )


def _first_visible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "0"
    first = visible.split(",")[0].strip()
    if not first or first.startswith("-"):
        raise RuntimeError(
            "This process may use no GPU (CUDA_VISIBLE_DEVICES is empty): give the trial one with "
            '`resources_per_trial={"gpu": 1}`.'
        )
    return first


def _find(wanted: str) -> _Gpu:
    gpus = _gpus()
    for gpu in gpus:
        if wanted == gpu.number or gpu.uuid.startswith(wanted):
            return gpu
    known = ", ".join(f"{gpu.number} ({gpu.uuid})" for gpu in gpus) or "none"
    raise RuntimeError(f"There is no GPU {wanted!r}; there are: {known}.")


def _gpus() -> list[_Gpu]:
    try:
        listed = subprocess.run(
            [*_QUERY, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"cannot list GPUs with nvidia-smi: {error}") from error
    gpus = []
    for line in listed.stdout.splitlines():
        number, uuid, used, total = (part.strip() for part in line.split(","))
        gpus.append(_Gpu(number, uuid, float(used), float(total)))
    return gpus
