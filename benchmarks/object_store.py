"""S3 services on loopback for the measurements: moto's server, and OpenStack Swift if there is one.

With `PREFECT_TUNE_TEST_S3_URL` set to a bucket of one's own, that is measured in place of both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.s3.endpoint import Bucket, fresh_bucket, own_bucket
from tests.s3.moto_process import moto_process
from tests.s3.swift import swift_process, why_not

MOTO, SWIFT, OWN = "moto", "Swift", "own bucket"


def services() -> list[str]:
    """What can be measured here, by name; the first one is always there."""
    if own_bucket() is not None:
        return [OWN]
    with _directory() as directory:
        return [MOTO] if why_not(directory) else [MOTO, SWIFT]


@contextmanager
def running(service: str) -> Iterator[Bucket]:
    """A fresh place in a service, which is started, and stopped at the end."""
    with ExitStack() as stack:
        own = own_bucket()
        if own is not None:
            endpoint = own.endpoint
        elif service == SWIFT:
            endpoint = stack.enter_context(swift_process(stack.enter_context(_directory())))
        else:
            endpoint = stack.enter_context(moto_process())
        yield stack.enter_context(fresh_bucket(endpoint))


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-swift-") as directory:
        yield Path(directory)
