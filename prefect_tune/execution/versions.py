"""What has to be the same on the driver and on every node."""

from __future__ import annotations

import pkgutil
import platform
from collections.abc import Mapping

from distributed import Client

from prefect_tune._version import __version__
from prefect_tune.error import ClusterError

_PACKAGE = "prefect_tune"
_VERSION = f"{_PACKAGE}._version:__version__"


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


def check_workers(client: Client) -> None:
    """See whether all workers have the package, before anything of it is sent to them.

    Only functions of the standard library are called there, as nothing else may exist.

    Raises:
        ClusterError: If one has not, or has other versions; names it and both versions.
    """
    pythons = client.run(platform.python_version)
    packages = client.run(pkgutil.resolve_name, _VERSION, on_error="return")
    driver = versions()
    for address, package in packages.items():
        python = _major_minor(pythons[address])
        if isinstance(package, BaseException):
            problem = f"it cannot import {_PACKAGE}: {package}"
        else:
            problem = mismatch({_PACKAGE: package, "Python": python}, driver)
        if problem:
            wanted = " and ".join(f"{what} {version}" for what, version in driver.items())
            raise ClusterError(
                f"the worker at {address} cannot run trials: {problem}. "
                f"Every worker needs {wanted}."
            )


def _major_minor(version: str) -> str:
    # What has to agree for pickled code to run.
    return ".".join(version.split(".")[:2])
