"""What has to be the same on the driver and on every node."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Collection, Mapping
from typing import Any

from prefect_tune._version import __version__
from prefect_tune.error import ClusterError

_PACKAGE = "prefect_tune"
#: Seconds that a worker may take to say its versions.
_ANSWER_S = 10.0


def versions() -> dict[str, str]:
    """The versions of this process."""
    return {_PACKAGE: __version__, "Python": _major_minor(platform.python_version())}


def mismatch(here: Mapping[str, str], driver: Mapping[str, str]) -> str:
    """What is wrong with the versions of a node; empty if they fit."""
    return "; ".join(
        f"it has {what} {here[what]} and the driver has {version}"
        for what, version in driver.items()
        if here[what] != version
    )


def needed() -> str:
    """What a node needs, for people."""
    return " and ".join(f"{what} {version}" for what, version in versions().items())


async def check_pythons(scheduler: Any, addresses: Collection[str]) -> set[str]:
    """See whether all workers have the same Python, before anything of ours is sent to them.

    Args:
        scheduler: The client's scheduler stub.
        addresses: The workers.

    Returns:
        Those that do not answer.

    Raises:
        ClusterError: If one has another; what comes next could not be loaded there.
    """
    found = dict(zip(addresses, await _ask_pythons(scheduler, addresses), strict=True))
    for address, version in found.items():
        problem = version and mismatch({"Python": version}, {"Python": versions()["Python"]})
        if problem:
            raise ClusterError(
                f"the worker at {address} cannot run trials: {problem}. "
                f"Every worker needs {needed()}."
            )
    return {address for address, version in found.items() if not version}


async def _ask_pythons(scheduler: Any, addresses: Collection[str]) -> list[str]:
    async def ask(address: str) -> str:
        # An operation of Dask's own, as nothing else may exist there.
        call = scheduler.proxy(worker=address, msg={"op": "versions"})
        try:
            reply = await asyncio.wait_for(call, _ANSWER_S)
        except Exception:  # whatever Dask makes of a worker that hangs or has gone
            return ""
        return _major_minor(reply["host"]["python"])

    return await asyncio.gather(*map(ask, addresses))


def _major_minor(version: str) -> str:
    # What has to agree for pickled code to run.
    return ".".join(version.split(".")[:2])
