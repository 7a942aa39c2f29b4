"""What has to be the same on the driver and on every node."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from distributed import Client

from prefect_tune._version import __version__
from prefect_tune.error import ClusterError

_PACKAGE = "prefect_tune"


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


def check_pythons(client: Client) -> None:
    """See whether all workers have the same Python, before anything of ours is sent to them.

    Only a function of the standard library is called there, as nothing else may exist.

    Raises:
        ClusterError: If one has another; what comes next could not be loaded there.
    """
    for address, version in client.run(platform.python_version).items():
        problem = mismatch({"Python": _major_minor(version)}, {"Python": versions()["Python"]})
        if problem:
            raise ClusterError(
                f"the worker at {address} cannot run trials: {problem}. "
                f"Every worker needs {needed()}."
            )


def _major_minor(version: str) -> str:
    # What has to agree for pickled code to run.
    return ".".join(version.split(".")[:2])
