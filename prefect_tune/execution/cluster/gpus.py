"""Finds the GPUs of a node without CUDA.

A process that has initialised CUDA cannot be forked, so neither torch nor the driver library is
asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prefect_tune.nvml import Gpu, list_gpus
from prefect_tune.resources import ACCELERATOR_TYPE
from prefect_tune.trainable.runtime.environment import (
    CUDA_DEVICES,
    HIP_DEVICES,
    ROCR_DEVICES,
    count_amd,
    count_nvidia,
    device_variable,
)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU that this process may use.

    Attributes:
        id: Its entry in the variable that `device_variable` names.
        key: What tells it from the other GPUs of this host.
        gpu: What NVML says of it, if it is known there.
    """

    id: str
    key: str
    gpu: Gpu | None = None


def made_up_devices() -> tuple[Device, ...]:
    """Return devices that stand for GPUs which workers declare on a host that has none."""
    return tuple(Device(str(number), f"made up {number}") for number in range(1000))


def visible_devices() -> tuple[Device, ...]:
    """Return the GPUs that this process may use, in the order of their variable."""
    variable = device_variable()
    entries = _split_device_list(os.environ.get(variable))
    if variable != CUDA_DEVICES:
        ids = [str(index) for index in range(count_amd())] if entries is None else entries
        below = (
            _split_device_list(os.environ.get(ROCR_DEVICES)) if variable == HIP_DEVICES else None
        )
        # Numbers of HIP count the devices that the level below shows.
        return tuple(Device(id, _entry_at(below, id)) for id in ids)
    gpus = list_gpus()
    if gpus:
        return _select(entries, gpus)
    ids = [str(index) for index in range(count_nvidia())] if entries is None else entries
    return tuple(Device(id, id) for id in ids)


def visible_gpus() -> tuple[str, ...]:
    """Return the ids of the GPUs that this process may use, as in ``CUDA_VISIBLE_DEVICES``."""
    return tuple(device.id for device in visible_devices())


def _split_device_list(text: str | None) -> list[str] | None:
    """Return the devices listed in ``CUDA_VISIBLE_DEVICES`` or the like; None for no list.

    As in CUDA, an invalid entry hides itself and all entries that follow.
    """
    if text is None:
        return None
    valid: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        if not entry or entry.startswith("-") or entry in valid:
            break
        valid.append(entry)
    return valid


def _entry_at(entries: list[str] | None, number: str) -> str:
    if entries is None or not number.isdigit() or int(number) >= len(entries):
        return number
    return entries[int(number)]


def _select(entries: Iterable[str] | None, gpus: tuple[Gpu, ...]) -> tuple[Device, ...]:
    """Return the GPUs that entries of ``CUDA_VISIBLE_DEVICES`` name; None names all."""
    # Of GPUs of several models, CUDA numbers the fastest first, unlike nvidia-smi.
    by_uuid = len({gpu.model for gpu in gpus}) > 1
    if entries is None:
        entries = dict.fromkeys(gpu.index.split(":")[0] for gpu in gpus)
    devices: dict[str, Device] = {}
    for entry in entries:
        named = _named(entry, gpus)
        if not named or any(gpu.uuid in devices for gpu in named):
            break
        for gpu in named:
            # An instance is known to CUDA by its UUID only.
            is_part = gpu.parent and not entry.startswith("MIG-")
            id = gpu.uuid if by_uuid or is_part else entry
            devices[gpu.uuid] = Device(id, gpu.uuid, gpu)
    return tuple(devices.values())


def _named(entry: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """Return the GPU that an entry names, or the MIG instances of that GPU; [] if it is invalid."""
    if entry.isdigit():
        return [gpu for gpu in gpus if gpu.index.split(":")[0] == str(int(entry))]
    named = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    if not named:
        named = [gpu for gpu in gpus if gpu.parent.startswith(entry)]
        return named if len({gpu.parent for gpu in named}) == 1 else []
    return named if len(named) == 1 else []


def model_label(devices: Iterable[Device]) -> Mapping[str, float]:
    """Return ``{"accelerator_type:MODEL": 1}`` for GPUs of one model; {} for several or none."""
    models = {device.gpu.model if device.gpu else None for device in devices}
    model = models.pop() if len(models) == 1 else None
    return {f"{ACCELERATOR_TYPE}{model}": 1.0} if model else {}
