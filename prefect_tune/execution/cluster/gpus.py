"""Finds the GPUs of a node without CUDA.

A process that has initialised CUDA cannot be forked, so neither torch nor the driver library is
asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_SMI_TIMEOUT_S = 10.0


def visible_gpus() -> tuple[str, ...]:
    """Return the ids of the GPUs that this process may use, as in ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(str(index) for index in range(_count()))
    ids = [part.strip() for part in visible.split(",")]
    # As in CUDA, an invalid entry hides itself and all entries that follow.
    valid = []
    for device in ids:
        if not device or device.startswith("-"):
            break
        valid.append(device)
    return tuple(valid)


@cache
def _count() -> int:
    """Count NVIDIA GPUs by their device files; a container has files only for its own GPUs."""
    files = sum(
        re.fullmatch(r"nvidia\d+", path.name) is not None for path in Path("/dev").iterdir()
    )
    if files or not Path("/dev/dxg").exists():
        return files
    # The Windows Subsystem for Linux has no device file per GPU.
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return 0
    try:
        listed = subprocess.run(
            [smi, "-L"], capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def slots(declared: float, visible: tuple[str, ...]) -> tuple[str, ...]:
    """Return ids for a declared number of GPUs.

    Args:
        declared: How many GPUs the node declares; a share of a GPU counts as one.
        visible: Ids of the GPUs that the node has.

    Returns:
        One id per declared GPU. If fewer exist than are declared, which is of use in tests only,
        made-up ids follow the real ones.
    """
    wanted = int(-(-declared // 1))
    made_up = (str(index) for index in range(wanted + len(visible)) if str(index) not in visible)
    return (*visible[:wanted], *(next(made_up) for _ in range(wanted - len(visible))))
