"""Gives a thread its own working directory, where the system supports that."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading

_CLONE_FS = 0x200
_logger = logging.getLogger(__name__)
_warned = False


def unshare_directory() -> bool:
    """Give this thread, and threads that it starts, a working directory of their own.

    Returns:
        False if the system does not allow it; a warning says so once.
    """
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_FS) == 0:
            return True
        reason = os.strerror(ctypes.get_errno())
    else:
        reason = "only Linux has a working directory for each thread"
    global _warned
    if not _warned:
        _warned = True
        _logger.warning(
            "Trials in threads work in the directory of their process, not in their own (%s). Use "
            "tune.get_trial_dir() for the files that they write.",
            reason,
        )
    return False
