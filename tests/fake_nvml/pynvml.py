"""A stand-in for pynvml that shows the GPUs in the JSON file that ``FAKE_NVML`` names.

Each GPU is a dict with `uuid`, `name`, `total`, `used`, `processes` (bytes by process id), and
`instances` (MIG instances, alike) if it is divided.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

NVML_DEVICE_MIG_ENABLE = 1
nvmlMemory_v2 = 2  # noqa: N816  NVML's name

_open = 0


class NVMLError(Exception):
    pass


def _gpus():
    if not _open:
        raise NVMLError("Uninitialized")
    with open(os.environ["FAKE_NVML"]) as file:
        return json.load(file)


def nvmlInit():  # noqa: N802
    global _open
    if not os.path.exists(os.environ.get("FAKE_NVML", "")):
        raise NVMLError("Driver Not Loaded")
    _open += 1


def nvmlShutdown():  # noqa: N802
    global _open
    _open -= 1


def nvmlDeviceGetCount():  # noqa: N802
    return len(_gpus())


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    gpu = _gpus()[index]
    if gpu.get("lost"):
        raise NVMLError("GPU is lost")
    return gpu


def nvmlDeviceGetHandleByUUID(uuid):  # noqa: N802
    for gpu in _gpus():
        for device in (gpu, *gpu.get("instances", ())):
            if device["uuid"] == uuid:
                return device
    raise NVMLError("Not Found")


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return handle["uuid"]


def nvmlDeviceGetName(handle):  # noqa: N802
    return handle["name"]


def nvmlDeviceGetMigMode(handle):  # noqa: N802
    if "instances" not in handle:
        raise NVMLError("Not Supported")
    return NVML_DEVICE_MIG_ENABLE, NVML_DEVICE_MIG_ENABLE


def nvmlDeviceGetMaxMigDeviceCount(handle):  # noqa: N802
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):  # noqa: N802
    if index >= len(handle["instances"]):
        raise NVMLError("Not Found")
    return handle["instances"][index]


def nvmlDeviceGetMemoryInfo(handle, version=None):  # noqa: N802
    if version is not None and handle.get("old"):
        raise NVMLError("Function Not Found")
    return SimpleNamespace(used=handle.get("used", 0), total=handle.get("total", 80 << 30))


def nvmlDeviceGetComputeRunningProcesses(handle):  # noqa: N802
    if handle.get("virtual"):
        raise NVMLError("Not Supported")
    return [
        SimpleNamespace(pid=int(pid), usedGpuMemory=used)
        for pid, used in handle.get("processes", {}).items()
    ]
