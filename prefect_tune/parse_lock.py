"""A lock around `ast.parse`, for the Python versions in which it is not thread-safe.

CPython 3.11.4 to 3.11.7 share the recursion depth of the parser between threads
(https://github.com/python/cpython/issues/106905): if a garbage collection lets another thread parse
meanwhile, the call fails with "SystemError: AST constructor recursion depth mismatch". Experiments
run in threads, and much of what they call parses: `inspect.getsource` of a class, `traceback` when
it underlines the place of an error, `numpy.load` of a file's header.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import threading
from typing import Any


def is_needed() -> bool:
    """Return True if this version of Python has the error."""
    return (3, 11, 4) <= sys.version_info < (3, 11, 8)


def install() -> None:
    """Replace `ast.parse` by a version with a lock, if this Python needs it."""
    if not is_needed() or hasattr(ast.parse, "__wrapped__"):
        return
    parse, lock = ast.parse, threading.RLock()

    @functools.wraps(parse)
    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return parse(*args, **kwargs)

    def renew() -> None:
        # A forked child lacks the thread that held the lock, so nobody would release it.
        nonlocal lock
        lock = threading.RLock()

    os.register_at_fork(after_in_child=renew)
    ast.parse = parse_alone
