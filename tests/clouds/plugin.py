"""The fixtures; registered in tests/conftest.py, so every test has them.

Nothing is started before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import azurite, gcs
from .bucket import CloudBucket

_SERVERS = {"gcs_server", "azure_account", "cloud_bucket"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services take seconds to start: what uses them runs in `make test-all` only."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")  # it gets slower with every object that it has seen
def gcs_server() -> Iterator[str]:
    """URL of an emulator of Google Cloud Storage; skipped where it is not installed."""
    reason = gcs.why_not()
    if reason:
        pytest.skip(reason)
    with gcs.gcs_process() as url:
        yield url


@pytest.fixture(scope="session")
def azure_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an account in Azurite; skipped where it is not installed."""
    reason = azurite.why_not()
    if reason:
        pytest.skip(reason)
    with azurite.azurite_process(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def gcs_bucket(gcs_server: str) -> CloudBucket:
    """A fresh bucket in the emulator of Google Cloud Storage."""
    return gcs.fresh_gcs_bucket(gcs_server)


@pytest.fixture
def azure_bucket(azure_account: str) -> CloudBucket:
    """A fresh container in Azurite."""
    return azurite.fresh_azure_bucket(azure_account)


@pytest.fixture(params=["gcs", "azure"])
def cloud_bucket(request: pytest.FixtureRequest) -> CloudBucket:
    """A fresh bucket in each of them."""
    bucket: CloudBucket = request.getfixturevalue(f"{request.param}_bucket")
    return bucket
