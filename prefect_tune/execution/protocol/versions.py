"""Compares the versions of the driver and of nodes, and finds workers that do not answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import distributed

from prefect_tune._version import __version__
from prefect_tune.error import ClusterError

#: The oldest version of Dask whose workers get along with later schedulers, and can run an agent.
OLDEST_DASK = (2026, 1)
_PACKAGE = "prefect_tune"
_DASK = "distributed"
#: Module with the functions that the driver submits.
_SUBMITTED = "prefect_tune.execution.node.entry"
#: Seconds that a worker has to answer.
_ANSWER_S = 10.0


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of Dask in this process."""
    # Pickled code needs the same major and minor version of Python.
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {_PACKAGE: __version__, "Python": python, _DASK: distributed.__version__}


def mismatch(here: Mapping[str, str], driver: Mapping[str, str]) -> str:
    """Return how a node's versions keep it from running a driver's trials; "" if they do not.

    Dask works with workers of other versions than its client's, and warns of them itself.
    """
    problems = [
        f"it has {what} {here[what]} and the driver has {driver[what]}"
        for what in (_PACKAGE, "Python")
        if here[what] != driver[what]
    ]
    if tuple(map(int, here[_DASK].split(".")[:2])) < OLDEST_DASK:
        problems.append(f"it has {_DASK} {here[_DASK]}, which is too old")
    return "; ".join(problems)


def needed() -> str:
    """Return a text with the versions that a node needs."""
    own, year_month = versions(), ".".join(map(str, OLDEST_DASK))
    return f"{_PACKAGE} {own[_PACKAGE]}, Python {own['Python']} and {_DASK} {year_month} or later"


async def check_scheduler(client: Any) -> None:
    """Check that the scheduler can load what the driver submits, which it hands on to workers.

    Raises:
        ClusterError: If it has no such module, or an import of it fails.
    """
    try:
        # Not a function of this package, which may be missing there.
        await client.run_on_scheduler(eval, f"__import__({_SUBMITTED!r}) and None")
    except Exception as error:  # an import may raise anything
        raise ClusterError(
            f"the Dask scheduler at {client.scheduler.address} cannot pass trials on to workers, "
            f"because it cannot import prefect_tune: {error!r}. Install {_PACKAGE} {__version__} "
            "there, as on the workers."
        ) from error


async def ask_workers(scheduler: Any, addresses: Iterable[str], operation: str) -> dict[str, Any]:
    """Call an operation of several workers; return replies by address, None for no reply.

    Args:
        scheduler: The client's scheduler stub.
        addresses: Addresses of the workers.
        operation: Name of the handler; ``versions`` is one of Dask itself.
    """

    async def ask(address: str) -> tuple[str, Any]:
        call = scheduler.proxy(worker=address, msg={"op": operation})
        try:
            return address, await asyncio.wait_for(call, _ANSWER_S)
        except Exception:  # Dask may raise anything for a worker that hangs or has gone
            return address, None

    return dict(await asyncio.gather(*map(ask, addresses)))
