"""Tells that a trial has failed because only the driver's machine has a file or a module."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re

from prefect_tune.experiment.attempt_error import AttemptError

_FILE = re.compile(r"No such file or directory: '([^']+)'$")
_MODULE = re.compile(r"No module named '(\w+)'$")


def only_on_driver(error: AttemptError, cwd: str, hostname: str, places: str) -> str:
    """Return what a trial lacks on another machine and the driver has, and what to do.

    Args:
        error: The error of the trial.
        cwd: Working directory of the driver.
        hostname: Name of the other machine.
        places: Where a process there works and looks for modules.

    Returns:
        A text; "" if the error is another one, or the driver lacks it, too.
    """
    if error.kind == "FileNotFoundError" and (found := _FILE.search(error.message)):
        path = os.path.join(cwd, found[1])
        if os.path.lexists(path):
            worker = places.partition(", looks in")[0]
            return (
                f"{path} is there on the driver's machine, and host {hostname} does not see it "
                f"({worker}). Put it where all workers see it under that path, read it from "
                "object storage, or send its content by tune.with_parameters(trainable, data=...)"
            )
    elif error.kind == "ModuleNotFoundError" and (found := _MODULE.search(error.message)):
        spec = None
        with contextlib.suppress(ValueError):  # an imported module without one
            spec = importlib.util.find_spec(found[1])
        if spec is not None:
            return (
                f"the module {found[1]!r} is there on the driver's machine ({spec.origin}), and "
                f"host {hostname} lacks it ({places}). Install it on every worker; of modules "
                "beside the script the source goes along"
            )
    return ""
