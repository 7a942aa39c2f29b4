"""Dask workers and schedulers as users start them by hand, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence

from tests.warm_python import ForkedProcess, WarmPython

_MAIN = "from distributed.cli.dask_{} import main; main()"
# No more than Dask: a test may hide the package from its worker.
_dask = WarmPython("import distributed.cli.dask_worker")


@contextlib.contextmanager
def dask_worker(
    scheduler: str, *arguments: str, before: str = "", **environment: str
) -> Iterator[ForkedProcess]:
    """Run a worker inside; what is left of it then is killed.

    Args:
        scheduler: Address of the scheduler.
        *arguments: Further arguments of ``dask worker``.
        before: Statements that run first.
        **environment: Changes of the environment variables.
    """
    with _running("worker", before, (scheduler, "--no-nanny", *arguments), environment) as process:
        yield process


@contextlib.contextmanager
def dask_scheduler(before: str = "") -> Iterator[str]:
    """Run a scheduler inside; yields its address, at which it may not answer yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with _running("scheduler", before, ("--host", "127.0.0.1", "--port", port), {}):
        yield f"tcp://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(
    program: str, before: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[ForkedProcess]:
    command = (f"import sys\n{before}\n{_MAIN.format(program)}", "--no-dashboard", *arguments)
    with open(os.devnull, "r+") as nothing:
        streams = (nothing.fileno(), 1, nothing.fileno())
        process = _dask.start(command, (), streams, {**os.environ, **environment})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
