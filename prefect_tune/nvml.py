"""Reads the NVIDIA GPUs of this machine with NVML (the package nvidia-ml-py, which is optional).

NVML does not initialise CUDA, after which a process could not be forked. It is shut down after each
use, so that no device file stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_VENDOR_WORDS = ("NVIDIA", "Tesla", "Quadro")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a MIG instance of one.

    Attributes:
        index: Its number as in nvidia-smi; ``0:1`` for the second instance of GPU 0.
        uuid: ``GPU-...`` or ``MIG-...``.
        name: Name of the GPU, e.g. ``NVIDIA A100-SXM4-80GB``.
        total: Bytes of memory.
        parent: UUID of the GPU that a MIG instance is part of.
    """

    index: str
    uuid: str
    name: str
    total: int
    parent: str = ""

    @property
    def model(self) -> str:
        """The model, e.g. ``A100`` or ``GeForce-RTX-4090``; Ray's ``accelerator_type:A100``."""
        words = [word for word in self.name.split() if word not in _VENDOR_WORDS]
        model: list[str] = []
        for word in words:
            model.append(word.split("-")[0])
            if any(letter.isdigit() for letter in word):
                break
        return "-".join(model)


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Memory of a GPU in bytes, and how much of it each process uses (None: not known)."""

    used: int
    total: int
    processes: dict[int, int | None] = field(default_factory=dict)


def list_gpus() -> tuple[Gpu, ...] | None:
    """Return the GPUs of this machine, with MIG instances in place of a GPU that is divided.

    None is returned where nvidia-ml-py or the driver is missing.
    """
    with _nvml() as nvml:
        if nvml is None:
            return None
        found: list[Gpu] = []
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                found += _gpus_of(nvml, str(number), nvml.nvmlDeviceGetHandleByIndex(number))
            except nvml.NVMLError:  # it has failed, and CUDA does not find it either
                continue
        return tuple(found)


def gpu_memory(uuid: str) -> GpuMemory | None:
    """Return how a GPU's memory is used; None if NVML cannot tell."""
    with _nvml() as nvml:
        if nvml is None:
            return None
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
            memory = _memory(nvml, handle)
        except nvml.NVMLError:
            return None
        processes: dict[int, int | None] = {}
        try:
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                processes[process.pid] = process.usedGpuMemory
        except nvml.NVMLError:  # not supported, e.g. by a virtual GPU
            pass
        return GpuMemory(int(memory.used), int(memory.total), processes)


@contextmanager
def _nvml() -> Iterator[Any]:
    """Enter pynvml, initialised; None where it or the driver is missing."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _gpus_of(nvml: Any, index: str, handle: Any) -> list[Gpu]:
    """Return a GPU, or its MIG instances if it is divided."""
    uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    try:
        is_divided = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError:  # the model has no MIG
        is_divided = False
    if not is_divided:
        return [Gpu(index, uuid, name, int(_memory(nvml, handle).total))]
    instances = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # no instance has this number
            continue
        total = int(_memory(nvml, instance).total)
        its_uuid = nvml.nvmlDeviceGetUUID(instance)
        instances.append(Gpu(f"{index}:{number}", its_uuid, name, total, uuid))
    return instances


def _memory(nvml: Any, handle: Any) -> Any:
    # The second version leaves out what the driver itself reserves.
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        try:
            return nvml.nvmlDeviceGetMemoryInfo(handle, version=version)
        except nvml.NVMLError:  # an older driver
            pass
    return nvml.nvmlDeviceGetMemoryInfo(handle)
