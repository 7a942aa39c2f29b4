"""Describes why an attempt failed, with what its node knows."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
from dataclasses import replace
from pathlib import Path

from prefect_tune.execution.protocol.helper_messages import ExitStatus
from prefect_tune.experiment.attempt import AttemptError

_FULL_BYTES = 1 << 20


def exit_error(status: ExitStatus) -> AttemptError:
    """Return the error of a process that ended without sending one."""
    if status.signal is None and status.code is None:
        starter = "the process that starts trials on its node has died"
        return AttemptError("lost", f"{starter}, and the trial with it")
    if status.signal is None:
        return AttemptError(
            "exit",
            f"the trial process exited with status {status.code} before the trainable returned",
            exit_code=status.code,
        )
    try:
        name = signal.Signals(status.signal).name
    except ValueError:
        name = f"signal {status.signal}"
    message = f"the trial process was killed by {name}"
    if status.signal == signal.SIGKILL:
        message += ", which was not sent by prefect_tune; maybe the node ran out of memory"
    return AttemptError("signal", message, exit_code=-status.signal)


def add_details(error: AttemptError, directory: Path, stderr: str) -> AttemptError:
    """Add the end of standard error, and a full disk, to an attempt's error.

    Args:
        error: The error that the process sent, or that of `exit_error`.
        directory: The trial's directory.
        stderr: Last lines of standard error.
    """
    # Python also prints an exception that ends a program; it is not repeated.
    stderr = stderr.replace(error.traceback.strip(), "") if error.traceback else stderr
    if stderr.strip():
        parts = [error.traceback.rstrip(), f"Last lines of stderr:\n{stderr.strip()}"]
        error = replace(error, traceback="\n\n".join(filter(None, parts)))
    # Neither Python's error nor a signal says that the disk is full.
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(directory).free
        if free < _FULL_BYTES or os.strerror(errno.ENOSPC) in error.message:
            where = f"the disk of {directory} on {socket.gethostname()} has {free >> 20} MB left"
            error = replace(error, message=f"{error.message} ({where})")
    return error
