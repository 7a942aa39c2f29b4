"""Dask workers as users start them by hand, in processes of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.warm_python import ForkedProcess, WarmPython

_WORKER = "from distributed.cli.dask_worker import main; main()"
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
    command = (f"import sys\n{before}\n{_WORKER}", scheduler, "--no-nanny", "--no-dashboard")
    with open(os.devnull, "r+") as nothing:
        streams = (nothing.fileno(), 1, nothing.fileno())
        process = _dask.start([*command, *arguments], (), streams, {**os.environ, **environment})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
