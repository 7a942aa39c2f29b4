"""Checks that the driver and every node have the same versions."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Collection, Mapping
from typing import Any

from prefect_tune._version import __version__
from prefect_tune.error import ClusterError

_PACKAGE = "prefect_tune"
#: Seconds that a worker has to report its versions.
_ANSWER_S = 10.0


def versions() -> dict[str, str]:
    """Return the versions of this package and of Python in this process."""
    return {_PACKAGE: __version__, "Python": _major_minor(platform.python_version())}


def mismatch(here: Mapping[str, str], driver: Mapping[str, str]) -> str:
    """Return how a node's versions differ from the driver's; "" if they are the same."""
    return "; ".join(
        f"it has {what} {here[what]} and the driver has {version}"
        for what, version in driver.items()
        if here[what] != version
    )


def needed() -> str:
    """Return a text with the versions that a node needs."""
    return " and ".join(f"{what} {version}" for what, version in versions().items())


async def check_pythons(scheduler: Any, addresses: Collection[str]) -> set[str]:
    """Check that all workers have the driver's Python version, before anything is sent to them.

    Args:
        scheduler: The client's scheduler stub.
        addresses: Addresses of the workers.

    Returns:
        Addresses of workers that do not answer.

    Raises:
        ClusterError: If a worker has another version, so that it could not load later messages.
    """

    async def ask(address: str) -> str:
        # An operation of Dask itself, because this package may be missing there.
        call = scheduler.proxy(worker=address, msg={"op": "versions"})
        try:
            reply = await asyncio.wait_for(call, _ANSWER_S)
        except Exception:  # Dask may raise anything for a worker that hangs or has gone
            return ""
        return _major_minor(reply["host"]["python"])

    answers = await asyncio.gather(*map(ask, addresses))
    found = dict(zip(addresses, answers, strict=True))
    for address, version in found.items():
        problem = version and mismatch({"Python": version}, {"Python": versions()["Python"]})
        if problem:
            raise ClusterError(
                f"the worker at {address} cannot run trials: {problem}. "
                f"Every worker needs {needed()}."
            )
    return {address for address, version in found.items() if not version}


def _major_minor(version: str) -> str:
    # Pickled code needs the same major and minor version.
    return ".".join(version.split(".")[:2])
