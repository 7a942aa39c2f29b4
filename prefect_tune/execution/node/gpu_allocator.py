"""`GpuAllocator`: assigns the GPUs of a node to attempts.

The coordinator of an experiment chooses devices as if no other experiment used the node. When
several experiments share a cluster, two may choose the same device, and Dask, which only counts
devices, lets both run. So the node assigns the devices.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.execution.cluster.gpus import Device
from prefect_tune.execution.files.node_directory import user_directory
from prefect_tune.resources import GPU, MILLI

_logger = logging.getLogger(__name__)
_SUFFIX = ".gpu"


class GpuClaims:
    """GPUs that the workers of a cluster on one host have divided among themselves.

    A claimed GPU is a locked file, so a worker that is killed gives up its GPUs. Workers in other
    containers, and those of other users or clusters, are not seen.

    Args:
        cluster: Address of the scheduler.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._locks: dict[Path, int] = {}

    def claim(self, devices: Sequence[Device], declared: float) -> tuple[Device, ...]:
        """Claim the first GPUs that no other worker of the cluster has.

        Args:
            devices: The GPUs that the worker may use.
            declared: How many it declares; workers that declare less than 1 share one.

        Returns:
            The claimed GPUs, fewer than declared if there are no more.
        """
        if not devices or not declared:
            return ()
        try:
            with _locked_directory() as directory:
                for path in directory.glob(f"*{_SUFFIX}"):
                    _remove_if_free(path)
                return tuple(self._claim(directory, devices, declared))
        except OSError as error:
            _logger.warning(
                "GPUs are not divided among the Dask workers of this host: %s. Give each worker "
                "its own by CUDA_VISIBLE_DEVICES.",
                error,
            )
            return tuple(devices[: math.ceil(declared)])

    def _claim(
        self, directory: Path, devices: Sequence[Device], declared: float
    ) -> Iterator[Device]:
        mode = fcntl.LOCK_EX if declared >= 1 else fcntl.LOCK_SH
        for device in devices:
            name = hashlib.sha256(f"{self._cluster} {device.key}".encode()).hexdigest()[:16]
            path = directory / f"{name}{_SUFFIX}"
            lock = _lock(path, mode)
            if lock is not None:
                self._locks[path] = lock
                yield device
            if len(self._locks) >= declared:
                return

    def release(self) -> None:
        """Give up all claimed GPUs."""
        if not self._locks:
            return
        with _locked_directory():
            while self._locks:
                path, lock = self._locks.popitem()
                os.close(lock)
                _remove_if_free(path)


@contextmanager
def _locked_directory() -> Iterator[Path]:
    """Enter the directory of the locks, in which no other worker makes or removes any meanwhile."""
    directory = user_directory()
    with open(directory / "gpus", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield directory


def _lock(path: Path, mode: int) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _remove_if_free(path: Path) -> None:
    lock = _lock(path, fcntl.LOCK_EX)
    if lock is not None:
        path.unlink()
        os.close(lock)


class GpuAllocator:
    """Free shares of each GPU of one node, for the node's event loop.

    Args:
        devices: Ids of the node's GPUs.
    """

    def __init__(self, devices: tuple[str, ...]) -> None:
        self.devices = devices
        self._free = dict.fromkeys(devices, MILLI)
        self._released = asyncio.Condition()

    async def acquire(self, slot: Slot) -> Slot:
        """Reserve as many devices as a slot has, and wait until they are free.

        Nothing is reserved if it is cancelled. A caller that awaits it in a task of its own, which
        may end just as the caller is cancelled, would not learn of the devices.

        Args:
            slot: What is requested, with the coordinator's choice of devices. Less than one GPU is
                a share of one device.

        Returns:
            The slot with the reserved devices: the coordinator's choice if that is free.
        """
        if not slot.devices:
            return slot
        share = _share(slot)
        async with self._released:
            while not (chosen := self._choose(slot.devices, share)):
                await self._released.wait()
        for device in chosen:
            self._free[device] -= share
        return replace(slot, devices=chosen)

    async def release(self, slot: Slot) -> None:
        """Release the devices of a slot that `acquire` has returned."""
        async with self._released:
            for device in slot.devices:
                self._free[device] += _share(slot)
            self._released.notify_all()

    def _choose(self, wanted: tuple[str, ...], share: int) -> tuple[str, ...]:
        if all(self._free.get(device, 0) >= share for device in wanted):
            return wanted
        roomy = [device for device in self.devices if self._free[device] >= share]
        roomy.sort(key=lambda device: self._free[device])
        return tuple(roomy[: len(wanted)]) if len(roomy) >= len(wanted) else ()


def _share(slot: Slot) -> int:
    """Return the thousandths of each of its devices that a slot has."""
    return min(slot.resources.get_milli(GPU), MILLI)
