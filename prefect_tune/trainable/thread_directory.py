"""A working directory for one thread, where the system has such a thing."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading

_CLONE_FS = 0x200
_logger = logging.getLogger(__name__)
_told = False


def have_own_directory() -> bool:
    """Let this thread, and those that it starts, change the directory without the others.

    Returns:
        False if the system does not allow it; says so once.
    """
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_FS) == 0:
            return True
        reason = os.strerror(ctypes.get_errno())
    else:
        reason = "only Linux has a working directory for each thread"
    global _told
    if not _told:
        _told = True
        _logger.warning(
            "Trials in threads work in the directory of their process, not in their own (%s). Use "
            "tune.get_trial_dir() for the files that they write.",
            reason,
        )
    return False
