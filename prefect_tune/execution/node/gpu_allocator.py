"""`GpuAllocator`: assigns the GPUs of a node to attempts.

The coordinator of an experiment chooses devices as if no other experiment used the node. When
several experiments share a cluster, two may choose the same device, and Dask, which only counts
devices, lets both run. So the node assigns the devices.
"""

from __future__ import annotations

import asyncio

from prefect_tune.resources import MILLI


class GpuAllocator:
    """Free shares of each GPU of one node, for the node's event loop.

    Args:
        devices: Ids of the node's GPUs.
    """

    def __init__(self, devices: tuple[str, ...]) -> None:
        self.devices = devices
        self._free = dict.fromkeys(devices, MILLI)
        self._released = asyncio.Condition()

    async def acquire(self, wanted: tuple[str, ...], gpu: float) -> tuple[str, ...]:
        """Reserve devices, and wait until enough are free.

        Args:
            wanted: The coordinator's choice, used if it is free.
            gpu: The requested GPUs; below 1 it is a share of one device.

        Returns:
            As many devices as wanted.
        """
        if not wanted:
            return ()
        share = _share(gpu)
        async with self._released:
            while True:
                chosen = self._choose(wanted, share)
                if chosen:
                    break
                await self._released.wait()
        for device in chosen:
            self._free[device] -= share
        return chosen

    async def release(self, taken: tuple[str, ...], gpu: float) -> None:
        """Release reserved devices."""
        async with self._released:
            for device in taken:
                self._free[device] += _share(gpu)
            self._released.notify_all()

    def _choose(self, wanted: tuple[str, ...], share: int) -> tuple[str, ...]:
        if all(self._free.get(device, 0) >= share for device in wanted):
            return wanted
        roomy = [device for device in self.devices if self._free[device] >= share]
        roomy.sort(key=lambda device: self._free[device])
        return tuple(roomy[: len(wanted)]) if len(roomy) >= len(wanted) else ()


def _share(gpu: float) -> int:
    return min(round(gpu * MILLI), MILLI)
