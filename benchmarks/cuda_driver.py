"""Takes memory of a GPU by the driver library alone, so that no framework has to be installed."""

from __future__ import annotations

import ctypes
from functools import cache


@cache
def _cuda() -> ctypes.CDLL:
    cuda = ctypes.CDLL("libcuda.so.1")
    _check(cuda.cuInit(0))
    return cuda


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"the CUDA driver reports error {status}")


def count() -> int:
    """Return how many GPUs this process may use, and initialise CUDA in it."""
    number = ctypes.c_int()
    _check(_cuda().cuDeviceGetCount(ctypes.byref(number)))
    return number.value


def take(share: float) -> int:
    """Take a share of the memory of the first GPU until this process ends; return the bytes."""
    cuda = _cuda()
    device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0))
    _check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    _check(cuda.cuCtxSetCurrent(context))
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _check(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
    wanted = int(total.value * share)
    _check(cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(wanted)))
    _check(cuda.cuMemsetD8_v2(pointer, ctypes.c_ubyte(1), ctypes.c_size_t(wanted)))
    _check(cuda.cuCtxSynchronize())
    return wanted
