"""Environment variables of trial processes: Ray Tune's own, and those that name their GPUs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ORIGINAL_DIRECTORY = "TUNE_ORIG_WORKING_DIR"
#: If 0, trials work in that directory, else in the trial's directory.
CHANGE_DIRECTORY = "RAY_CHDIR_TO_TRIAL_DIR"
#: If 1, tracebacks also show frames of this package.
FULL_TRACEBACKS = "RAY_AIR_FULL_TRACEBACKS"
#: If 0, the traceback of a failure is not printed.
PRINT_ERRORS = "TUNE_PRINT_ALL_TRIAL_ERRORS"
CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
HIP_DEVICES = "HIP_VISIBLE_DEVICES"
ROCR_DEVICES = "ROCR_VISIBLE_DEVICES"
#: Without GPUs of NVIDIA the first that is set counts: HIP heeds CUDA's variable, too, and both
#: number what ROCr's shows.
DEVICE_VARIABLES = (HIP_DEVICES, CUDA_DEVICES, ROCR_DEVICES, "ZE_AFFINITY_MASK")
_DEV = Path("/dev")
#: Where the driver of AMD lists GPUs and CPUs.
_KFD = Path("/sys/class/kfd/kfd/topology/nodes")
_SMI_TIMEOUT_S = 10.0


def is_on(text: str) -> bool:
    """Return True if the text of a variable means yes; an empty text means no."""
    return text.strip().lower() not in ("", "0", "false", "no", "off", "n", "f")


def device_variable() -> str:
    """Return the variable that names the GPUs a process may use, as this host needs it."""
    if count_nvidia():
        return CUDA_DEVICES
    for name in DEVICE_VARIABLES:
        # An empty one hides all devices from CUDA, but counts as not set elsewhere.
        if os.environ.get(name) or (name == CUDA_DEVICES and name in os.environ):
            return name
    return HIP_DEVICES if count_amd() else CUDA_DEVICES


def device_variables(devices: Sequence[str]) -> dict[str, str]:
    """Return the variables for a process that is to use these GPUs and no others."""
    variable = device_variable()
    if devices or variable == CUDA_DEVICES:
        return {variable: ",".join(devices)}
    # An empty mask of oneAPI means all; the others stop at an entry that is no device.
    return {variable: "-1"} if variable in (HIP_DEVICES, ROCR_DEVICES) else {}


@cache
def count_nvidia() -> int:
    """Count NVIDIA GPUs by their device files; a container has files only for its own GPUs."""
    files = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in _DEV.iterdir())
    if files or not (_DEV / "dxg").exists():
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


@cache
def count_amd() -> int:
    """Count AMD GPUs; in a container those count whose device file it has."""
    minors = [
        re.search(r"^drm_render_minor ([1-9]\d*)$", properties.read_text(), re.MULTILINE)
        for properties in _KFD.glob("*/properties")
    ]
    return sum(minor is not None and (_DEV / f"dri/renderD{minor[1]}").exists() for minor in minors)
