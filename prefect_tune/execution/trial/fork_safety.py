"""Decides whether attempts may be forked from a process that has imported the trainable.

A fork copies one thread of a process. Libraries that keep threads, locks or a GPU context then hang
or fail in the child, often rarely and far from the cause, so any sign of them means spawn.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

from prefect_tune.error import InvalidArgument
from prefect_tune.execution.protocol.helper_messages import LoadInfo

START_METHODS = ("auto", "fork", "spawn")
#: Modules whose import alone makes a fork unsafe.
_UNSAFE_MODULES = ("jax", "jaxlib", "tensorflow", "grpc", "pyspark", "cupy")


def choose_start_method(wanted: str) -> LoadInfo:
    """Choose how this process, which has imported the trainable, starts attempts.

    Args:
        wanted: ``auto``, ``fork`` or ``spawn``; the latter two are used in any case.

    Raises:
        InvalidArgument: If `wanted` is none of these.
    """
    if wanted not in START_METHODS:
        raise InvalidArgument("start_method", f"{wanted!r} is unknown.", "Use auto, fork or spawn.")
    if wanted == "spawn":
        return LoadInfo("spawn")
    reasons = _reasons_against_fork()
    if not reasons:
        return LoadInfo("fork")
    why = "; ".join(reasons)
    if wanted == "fork":
        return LoadInfo("fork", f"Trials are forked as asked, though that is unsafe: {why}.")
    return LoadInfo(
        "spawn",
        f"Trials start by spawn, which takes longer, because a fork is unsafe: {why}. "
        "Import such modules inside the trainable, or set start_method='fork' to fork anyway.",
    )


def _reasons_against_fork() -> list[str]:
    reasons = []
    if sys.platform == "darwin":
        reasons.append("macOS frameworks do not support it")
    imported = [name for name in _UNSAFE_MODULES if name in sys.modules]
    if imported:
        reasons.append(f"{', '.join(imported)} is imported")
    if _cuda_is_initialised():
        reasons.append("CUDA was initialised by an import")
    threads = _extra_threads()
    if threads:
        reasons.append(f"an import started threads ({', '.join(threads)})")
    return reasons


def _cuda_is_initialised() -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        return True
    # Other libraries, and those of AMD: a process that uses the driver has its device files open.
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # the one of `iterdir` itself
            if os.readlink(descriptor).startswith(("/dev/nvidia", "/dev/kfd")):
                return True
    return False


def _extra_threads() -> list[str]:
    """Return the names of all threads but the main one, including those of native libraries."""
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    except OSError:
        tasks = [identity for identity in known if identity is not None]
    main = threading.main_thread().native_id
    return sorted(known.get(task) or f"native: {_comm(task)}" for task in tasks if task != main)


def _comm(task: int) -> str:
    try:
        return Path(f"/proc/self/task/{task}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "?"
