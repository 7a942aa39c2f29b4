"""Starts and stops moto's S3 server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .endpoint import Endpoint

_MAIN = Path(__file__).with_name("moto_main.py")


@contextlib.contextmanager
def moto_process() -> Iterator[Endpoint]:
    """An S3 service of its own on a free port of the loopback interface.

    Raises:
        RuntimeError: If it does not come up, with what it printed.
    """
    process = subprocess.Popen(
        # -P: the script's directory is no place to import from.
        [sys.executable, "-P", str(_MAIN)],
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
            _, err = process.communicate()
            raise RuntimeError(f"moto's server did not start:\n{err}")
        yield Endpoint(f"http://127.0.0.1:{port}", "testing", "testing-secret", "us-east-1")
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
