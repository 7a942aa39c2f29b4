"""``prefect-tune version``: print the versions that a bug report should name."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

from prefect_tune._version import __version__
from prefect_tune.cli.commands import EXIT_OK

_RELATED = ("prefect", "distributed", "optuna", "numpy")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the versions of the package, Python and the libraries it works with."""
    print(f"prefect-tune {__version__}")
    print(f"python {platform.python_version()} on {platform.platform()}")
    for name in _RELATED:
        print(f"{name} {_version_of(name)}")
    return EXIT_OK


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
