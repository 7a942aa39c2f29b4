"""Copies the output of a trial that runs as a thread into the trial's files.

A trial process has its file descriptors redirected, but threads share those of their process. So
`sys.stdout` and `sys.stderr` are replaced by objects that find the trial's file by the context of
the writer. Output of native code, subprocesses and threads of the trial goes to the console only.
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
    """Replacement for an output stream that also writes to a file of the current context.

    Args:
        stream: The stream to replace.
        copy_to: The file of the current context; None if the context has none.
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
    """Also append to files what is printed in this context.

    Args:
        stdout: File that standard output is appended to; created if missing.
        stderr: File that standard error is appended to; may be the same file.
    """
    with ExitStack() as files:
        opened = {
            path: files.enter_context(
                # Line-buffered, so that a log can be followed and a crash loses nothing.
                open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
            )
            for path in {str(stdout), str(stderr)}
        }
        _install_tees()
        tokens = {
            name: _FILES[name].set(opened[str(path)])
            for name, path in (("stdout", stdout), ("stderr", stderr))
        }
        try:
            yield
        finally:
            for name, token in tokens.items():
                _FILES[name].reset(token)
            _remove_tees()


def _install_tees() -> None:
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


def _remove_tees() -> None:
    global _writers
    with _lock:
        _writers -= 1
        if _writers:
            return
        for name, tee in _tees.items():
            # Other code may have replaced the stream meanwhile, and will restore this one itself.
            if getattr(sys, name) is tee:
                setattr(sys, name, tee._stream)
        _tees.clear()
