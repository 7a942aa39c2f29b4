"""Measures the load of a node (``config["log_sys_usage"]``), and waits for memory of its GPUs."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from prefect_tune.nvml import gpu_memory, list_gpus
from prefect_tune.trainable.runtime.environment import CUDA_DEVICES

_logger = logging.getLogger("prefect_tune")
_SMI_TIMEOUT_S = 30.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Gpu:
    """Number, UUID and memory (in MiB) of a GPU, and how much each process uses, if known."""

    number: str
    uuid: str
    used: float
    total: float
    users: Mapping[int, float | None] | None = None


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: float = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until a GPU's memory is free, which may take a while after a process has ended.

    Args:
        gpu_id: Index as in nvidia-smi, or UUID; by default the first GPU that this process may use.
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
    checks = max(1, retry)
    for check in range(1, checks + 1):
        gpu = _find(wanted)
        limit = target_util * gpu.total if gpu_memory_limit is None else gpu_memory_limit
        if gpu.used <= limit:
            return True
        in_use = f"{gpu.used:.0f} of {gpu.total:.0f} MiB are in use"
        if check < checks:
            _logger.info(
                "GPU %s: %s; waiting for %.0f MiB or less, check %d of %d, the next one in %g s.",
                wanted,
                in_use,
                limit,
                check,
                checks,
                delay_s,
            )
            time.sleep(delay_s)
    raise RuntimeError(
        f"GPU {wanted} is not free after {checks} checks: {in_use}, {_by_whom(gpu)}. At most "
        f"{limit:.0f} MiB may be."
    )


def _first_visible() -> str:
    visible = os.environ.get(CUDA_DEVICES)
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
    known = [(gpu.index, gpu.uuid) for gpu in list_gpus() or ()]
    listed = [] if known else _ask_smi()
    known = known or [(gpu.number, gpu.uuid) for gpu in listed]
    for place, (number, uuid) in enumerate(known):
        if wanted != number and not uuid.startswith(wanted):
            continue
        if listed:
            return listed[place]
        memory = gpu_memory(uuid)
        if memory is None:
            raise RuntimeError(f"NVML does not tell how the memory of GPU {wanted} is used.")
        users = {
            pid: None if used is None else used / _MIB for pid, used in memory.processes.items()
        }
        return _Gpu(number, uuid, memory.used / _MIB, memory.total / _MIB, users)
    names = ", ".join(f"{number} ({uuid})" for number, uuid in known) or "none"
    raise RuntimeError(f"There is no GPU {wanted!r}; there are: {names}.")


def _ask_smi() -> list[_Gpu]:
    return [
        _Gpu(number, uuid, float(used), float(total))
        for number, uuid, used, total in _smi("--query-gpu=index,uuid,memory.used,memory.total")
    ]


def _by_whom(gpu: _Gpu) -> str:
    """Return a text that names the processes that use a GPU's memory."""
    users = gpu.users
    if users is None:
        rows = _smi("--query-compute-apps=pid,used_memory,gpu_uuid")
        users = {
            int(row[0]): float(row[1]) if row[1].isdigit() else None
            for row in rows
            if len(row) == 3 and row[2] == gpu.uuid
        }
    if not users:
        return "by processes that cannot be seen from here, e.g. of another container"
    return "by " + ", ".join(
        f"{_name(pid)} ({pid}{'' if used is None else f', {used:.0f} MiB'})"
        for pid, used in sorted(users.items())
    )


def _name(pid: int) -> str:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return "process"


def _smi(query: str) -> list[list[str]]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"cannot list GPUs with NVML or nvidia-smi: {error}") from error
    return [[part.strip() for part in line.split(",")] for line in listed.stdout.splitlines()]


class UtilMonitor(threading.Thread):
    """Thread that measures the node's CPU and memory load periodically.

    Args:
        start: True to start the thread at once.
        delay: Seconds between two measurements.
    """

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        super().__init__(name="usage", daemon=True)
        self._delay = delay
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._sums: dict[str, float] = {}
        self._count = 0
        if start:
            self.start()

    def run(self) -> None:
        """Measure until `stop`."""
        psutil.cpu_percent()  # the first call only starts the measurement
        while not self._ended.wait(self._delay):
            self._measure()

    def get_data(self) -> dict[str, Any]:
        """Return averages since the last call: ``{"perf": {"cpu_util_percent": 3.2, ...}}``."""
        if not self.is_alive() and not self._count:
            return {}
        if not self._count:
            self._measure()
        with self._lock:
            averages = {name: total / self._count for name, total in self._sums.items()}
            self._sums.clear()
            self._count = 0
        return {"perf": averages}

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _measure(self) -> None:
        now = {
            "cpu_util_percent": float(psutil.cpu_percent()),
            "ram_util_percent": float(psutil.virtual_memory().percent),
        }
        with self._lock:
            self._count += 1
            for name, value in now.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
