"""Dask workers and schedulers as users start them by hand, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from tests.warm_python import HELPERS_WARM, WarmPopen, WarmPython

_MAIN = "from distributed.cli.dask_{} import main; main()"
_DASK = (
    # Dask's own use of NVML wants more than the stand-in of tests has.
    "import dask; dask.config.set({'distributed.diagnostics.nvml': False}); "
    "import distributed.cli.dask_scheduler, distributed.cli.dask_worker"
)
_dask = WarmPython(
    f"{_DASK}, prefect_tune.execution.node.entry, prefect_tune.execution.node.agent; {HELPERS_WARM}"
)
#: For tests that hide the package from a worker, or change it.
_only_dask = WarmPython(_DASK)


@contextlib.contextmanager
def dask_worker(
    scheduler: str, *arguments: str, before: str = "", **environment: str
) -> Iterator[WarmPopen]:
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
def dask_scheduler(before: str = "", port: int | None = None) -> Iterator[tuple[WarmPopen, str]]:
    """Run a scheduler inside; yields it and its address, at which it may not answer yet."""
    where = ("--host", "127.0.0.1", "--port", str(port or free_port()))
    with _running("scheduler", before, where, {}) as process:
        yield process, f"tcp://127.0.0.1:{where[-1]}"


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _running(
    program: str, before: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[WarmPopen]:
    python = _only_dask if before else _dask
    code = f"import sys\n{before}\n{_MAIN.format(program)}"
    process = WarmPopen(
        python,
        [sys.executable, "-c", code, "--no-dashboard", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
