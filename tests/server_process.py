"""Starts and stops servers that tests need, in processes of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_END_S = 10.0


@contextlib.contextmanager
def serving_script(main: Path, what: str) -> Iterator[str]:
    """A server on a free port of the loopback interface.

    Args:
        main: The script that runs it: it prints the port, and ends when its input does.
        what: What it is, for an error.

    Yields:
        Its URL.

    Raises:
        RuntimeError: If it does not come up, with what it printed.
    """
    process = subprocess.Popen(
        # -P: the script's directory is no place to import from.
        [sys.executable, "-P", str(main)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"{what} did not start:\n{process.communicate()[1]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        await_end(process)


def await_end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Wait for a process that has been told to end, kill it if it does not, and close its pipes."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
