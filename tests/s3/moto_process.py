"""Starts and stops moto's S3 server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.server_process import serving_script

from .endpoint import Endpoint

_MAIN = Path(__file__).with_name("moto_main.py")


@contextlib.contextmanager
def moto_process() -> Iterator[Endpoint]:
    """An S3 service of its own on a free port of the loopback interface.

    Raises:
        RuntimeError: If it does not come up, with what it printed.
    """
    with serving_script(_MAIN, "moto's server") as url:
        yield Endpoint(url, "testing", "testing-secret", "us-east-1")
