"""The fixtures; registered in tests/conftest.py, so every test has them.

Nothing is started before a test asks for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from .endpoint import Bucket, Endpoint, fresh_bucket, own_bucket
from .fault_proxy import FaultProxy, running_proxy
from .moto_process import moto_process
from .swift import swift_process, why_not


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Swift takes seconds to start: what uses it runs in `make test-all` only."""
    for item in items:
        if "swift_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def _models_of_s3_are_read_once() -> Iterator[None]:
    """Each client has a session of its own, which reads them: it is most of what a test takes."""
    import botocore.session

    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(botocore.session.create_loader)
        patch.setattr(botocore.session, "create_loader", once)
        yield


@pytest.fixture(scope="session")
def moto_server(_models_of_s3_are_read_once: None) -> Iterator[Endpoint]:
    """moto's S3 server in a process of its own."""
    with moto_process() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest) -> Endpoint:
    """The S3 service that tests run against: moto, or where PREFECT_TUNE_TEST_S3_URL is."""
    own = own_bucket()
    if own is not None:
        return own.endpoint
    endpoint: Endpoint = request.getfixturevalue("moto_server")
    return endpoint


@pytest.fixture
def s3_bucket(s3_server: Endpoint) -> Iterator[Bucket]:
    """A fresh place in `s3_server`."""
    with fresh_bucket(s3_server) as bucket:
        yield bucket


@pytest.fixture
def fault_proxy(moto_server: Endpoint) -> Iterator[FaultProxy]:
    """A proxy in front of moto; passes everything on until told otherwise."""
    with running_proxy(moto_server) as proxy:
        yield proxy


@pytest.fixture
def fault_bucket(moto_server: Endpoint, fault_proxy: FaultProxy) -> Iterator[Bucket]:
    """A fresh bucket as seen through `fault_proxy`; `fault_bucket.at(moto_server)` goes past it."""
    with fresh_bucket(moto_server) as bucket:
        yield bucket.at(fault_proxy.endpoint)


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """OpenStack Swift's S3 layer; skipped where its packages are not installed."""
    directory = tmp_path_factory.mktemp("swift")
    reason = why_not(directory)
    if reason:
        pytest.skip(reason)
    with swift_process(directory) as endpoint:
        yield endpoint


@pytest.fixture
def swift_bucket(swift_server: Endpoint) -> Iterator[Bucket]:
    """A fresh bucket in Swift."""
    with fresh_bucket(swift_server) as bucket:
        yield bucket
