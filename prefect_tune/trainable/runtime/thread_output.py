"""What a trial prints that runs as a thread: to the console as before, and to files of its own.

A process of its own has its descriptors redirected; here they belong to all. So `sys.stdout` and
`sys.stderr` are stood in for, and the stand-in asks whose context it is written in. What native
code, subprocesses and threads of the trial's own print goes to the console alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

_lock = threading.Lock()
_writers = 0


class _Tee:
    """Stands in for a stream; everything but writing is the stream's own.

    Args:
        stream: The stream.
        copy_to: The file of whoever writes; None for those that have none.
    """

    def __init__(self, stream: TextIO, copy_to: ContextVar[TextIO | None]) -> None:
        self._stream = stream
        self._copy_to = copy_to

    def write(self, text: str) -> int:
        copy = self._copy_to.get()
        if copy is not None:
            copy.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_FILES: dict[str, ContextVar[TextIO | None]] = {
    name: ContextVar(f"trial_{name}", default=None) for name in ("stdout", "stderr")
}
_tees: dict[str, _Tee] = {}


@contextmanager
def copied_output(stdout: str | Path, stderr: str | Path) -> Iterator[None]:
    """Append to files, too, what is printed in this context.

    Args:
        stdout: File that standard output is appended to; made if there is none.
        stderr: The same for standard error; may be the same file.
    """
    with ExitStack() as files:
        opened = {
            path: files.enter_context(
                # Line-buffered, so that a log can be followed and a crash loses nothing.
                open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
            )
            for path in {str(stdout), str(stderr)}
        }
        _stand_in()
        tokens = {
            name: _FILES[name].set(opened[str(path)])
            for name, path in (("stdout", stdout), ("stderr", stderr))
        }
        try:
            yield
        finally:
            for name, token in tokens.items():
                _FILES[name].reset(token)
            _step_back()


def _stand_in() -> None:
    global _writers
    with _lock:
        _writers += 1
        if _writers > 1:
            return
        for name, copy_to in _FILES.items():
            stream = getattr(sys, name)
            if stream is not None:  # a process without a console
                _tees[name] = _Tee(stream, copy_to)
                setattr(sys, name, _tees[name])


def _step_back() -> None:
    global _writers
    with _lock:
        _writers -= 1
        if _writers:
            return
        for name, tee in _tees.items():
            # Somebody else may have put a stream there meanwhile, and will put this one back.
            if getattr(sys, name) is tee:
                setattr(sys, name, tee._stream)
        _tees.clear()
