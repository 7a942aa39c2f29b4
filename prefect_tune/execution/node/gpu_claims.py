"""`GpuClaims`: which GPUs of a host one of its Dask workers gives to trials."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
from collections.abc import Sequence

from prefect_tune.execution.cluster.gpus import Device
from prefect_tune.execution.files.node_directory import user_directory


class GpuClaims:
    """GPUs that the workers of a cluster on one host have divided among themselves.

    A claimed GPU is a locked file, so a worker that is killed gives up its GPUs. Workers in other
    containers, and those of other users or clusters, are not seen.

    Args:
        cluster: Address of the scheduler.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._locks: list[int] = []

    def claim(self, devices: Sequence[Device], declared: float) -> tuple[Device, ...]:
        """Claim the first GPUs that no other worker of the cluster has.

        Args:
            devices: The GPUs that the worker may use.
            declared: How many it declares; workers that declare less than 1 share one.

        Returns:
            The claimed GPUs, fewer than declared if there are no more.
        """
        if self._cluster.startswith("inproc://"):  # it has no other workers
            return tuple(devices[: math.ceil(declared)])
        mode = fcntl.LOCK_EX if declared >= 1 else fcntl.LOCK_SH
        claimed: list[Device] = []
        for device in devices:
            if len(claimed) >= declared:
                break
            name = hashlib.sha256(f"{self._cluster} {device.key}".encode()).hexdigest()[:16]
            lock = os.open(user_directory() / f"{name}.gpu", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                self._locks.append(lock)
                claimed.append(device)
        return tuple(claimed)

    def release(self) -> None:
        """Give up all claimed GPUs."""
        while self._locks:
            os.close(self._locks.pop())
