"""One thread parses source at a time, on the Pythons where `ast.parse` is not thread-safe.

CPython 3.11.4 to 3.11.7 keep the depth of the syntax tree that is being built once for all threads
(https://github.com/python/cpython/issues/106905): when a garbage collection in the middle lets
another thread parse, the call fails with "SystemError: AST constructor recursion depth mismatch".
Experiments run in threads, and much of what they call parses: `inspect.getsource` of a class,
`traceback` when it underlines the place of an error, `numpy.load` of a file's header.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import threading
from typing import Any


def is_needed() -> bool:
    """Whether this Python has the fault."""
    return (3, 11, 4) <= sys.version_info < (3, 11, 8)


def install() -> None:
    """Have `ast.parse` wait for its turn, where that is needed."""
    if not is_needed() or hasattr(ast.parse, "__wrapped__"):
        return
    parse, lock = ast.parse, threading.RLock()

    @functools.wraps(parse)
    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return parse(*args, **kwargs)

    def renew() -> None:
        # A thread that parsed when the process was forked is not there to release the lock.
        nonlocal lock
        lock = threading.RLock()

    os.register_at_fork(after_in_child=renew)
    ast.parse = parse_alone
