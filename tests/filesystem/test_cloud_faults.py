"""Other clouds than AWS: what goes wrong there, and what only their own client libraries do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_tune.blocks import TuneStorage
from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from tests.clouds.azurite import connection_string, read_only_token
from tests.clouds.bucket import CloudBucket
from tests.filesystem.store_conformance import content
from tests.s3.endpoint import Endpoint
from tests.s3.fault_proxy import FaultProxy, running_proxy
from tests.s3.faults import Answer, CutDownload, Drop, Fault, LoseAnswer

QUICK = Limits(request_s=30.0, outage_s=60.0, first_delay_s=0.01, max_delay_s=0.1)
SHORT = Limits(request_s=30.0, outage_s=0.5, first_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def proxy(cloud_bucket: CloudBucket) -> Iterator[FaultProxy]:
    with running_proxy(Endpoint(cloud_bucket.server)) as proxy:
        yield proxy


@pytest.fixture
def store(cloud_bucket: CloudBucket, proxy: FaultProxy) -> Store:
    return through(cloud_bucket, proxy, QUICK)


def through(bucket: CloudBucket, proxy: FaultProxy, limits: Limits) -> Store:
    seen = bucket.at(proxy.endpoint.url or "")
    return open_store(Location(f"{seen.url}/p", seen.options), limits)


@pytest.mark.parametrize(
    "fault", [Answer(500), Answer(503), Answer(429), Drop(), LoseAnswer()], ids=str
)
def test_everything_survives_failures_that_pass(
    store: Store, proxy: FaultProxy, fault: Fault, tmp_path: Path
) -> None:
    def twice() -> None:
        proxy.clear()
        proxy.inject(fault, times=2)

    (tmp_path / "b").write_bytes(b"22")
    twice()
    store.write("a", b"1")
    twice()
    store.put_tree(tmp_path, "", names=["b"])
    twice()
    assert store.read("a") == b"1"
    twice()
    assert store.sizes() == {"a": 1, "b": 2}
    twice()
    store.get_tree("", tmp_path / "down")
    assert (tmp_path / "down" / "b").read_bytes() == b"22"
    twice()
    store.delete_tree("")
    proxy.clear()
    assert store.sizes() == {}


def test_a_cut_download_is_made_again(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    store.write("to-cut", content(100_000))
    cut = proxy.inject(CutDownload(0.5), times=1, methods=["GET"], path="to-cut")
    store.get_tree("", tmp_path / "down")
    assert cut.hits == 1
    assert (tmp_path / "down" / "to-cut").read_bytes() == content(100_000)


def test_a_file_of_several_requests(store: Store, tmp_path: Path) -> None:
    # gcsfs cuts at 50 MiB, Azure's client at 4 MiB above 64 MiB.
    (tmp_path / "large").write_bytes(content(70 * 2**20 + 1))
    store.put_tree(tmp_path, "", names=["large"])
    store.get_tree("", tmp_path / "down")
    assert (tmp_path / "down" / "large").read_bytes() == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize(
    "answer", [Answer(401, "NoAuthenticationInformation"), Answer(403, "AccessDenied")], ids=str
)
def test_who_is_refused_hears_so_at_once(
    cloud_bucket: CloudBucket, proxy: FaultProxy, answer: Answer
) -> None:
    store = through(cloud_bucket, proxy, QUICK)
    proxy.inject(answer)
    hint = "(need permission to|Give the right key)"
    with pytest.raises(StorageError, match=f"cannot write .*/p/a: .*{hint}") as raised:
        store.write("a", b"1")
    assert not isinstance(raised.value, StorageUnavailable)
    assert len(proxy.seen) == 1
    for method in (store.read, store.sizes):
        with pytest.raises(StorageError):
            method("a")
    proxy.clear()
    assert store.sizes() == {}


def test_a_service_that_is_away_is_said_to_be(cloud_bucket: CloudBucket, proxy: FaultProxy) -> None:
    store = through(cloud_bucket, proxy, SHORT)
    proxy.go_away()
    with pytest.raises(StorageUnavailable, match=r"[Cc]onnect.*Gave up after"):
        store.write("a", b"1")


def test_no_bucket_is_ever_made(cloud_bucket: CloudBucket, tmp_path: Path) -> None:
    store = open_store(Location(f"{cloud_bucket.missing}/p", cloud_bucket.options), QUICK)
    (tmp_path / "file").write_bytes(b"1")
    before = cloud_bucket.buckets()
    with pytest.raises(StorageError, match="Give the URL of a bucket that exists"):
        store.write("a", b"1")
    with pytest.raises(StorageError, match="Give the URL of a bucket that exists"):
        store.put_tree(tmp_path, "", names=["file"])
    assert cloud_bucket.buckets() == before


def test_a_wrong_key_of_azure(azure_account: str, azure_bucket: CloudBucket) -> None:
    options = {"connection_string": connection_string(azure_account, "d3Jvbmc=")}
    store = open_store(Location(f"{azure_bucket.url}/p", options), QUICK)
    with pytest.raises(StorageError, match="Server failed to authenticate") as raised:
        store.write("a", b"1")
    assert "RequestId" not in str(raised.value)
    assert "<?xml" not in str(raised.value)


def test_the_account_of_a_block_need_not_be_at_azure_itself(azure_bucket: CloudBucket) -> None:
    storage = TuneStorage(basepath=f"{azure_bucket.url}/p", **azure_bucket.block)
    storage.write_path("a", b"1")
    assert storage.read_path("a") == b"1"
    assert azure_bucket.keys() == ["p/a"]


def test_googles_own_way_to_name_an_emulator(
    gcs_bucket: CloudBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.server.removeprefix("http://"))
    store = open_store(Location(f"{gcs_bucket.url}/p", {"token": "anon"}), SHORT)
    store.write("a", b"1")
    assert gcs_bucket.keys() == ["p/a"]


def test_a_key_file_of_google_that_is_not_there(gcs_bucket: CloudBucket) -> None:
    options = {**gcs_bucket.options, "token": "/nowhere/key"}
    store = open_store(Location(gcs_bucket.url, options), QUICK)
    with pytest.raises(StorageError, match="no key file /nowhere/key on this machine") as no:
        store.read("a")
    assert not isinstance(no.value, StorageUnavailable)


def test_a_token_of_azure_that_may_only_read(azure_bucket: CloudBucket) -> None:
    storage = TuneStorage(basepath=f"{azure_bucket.url}/p", **azure_bucket.block)
    storage.write_path("a", b"1")
    token = read_only_token(azure_bucket.url.removeprefix("az://"))
    endpoint = azure_bucket.block["endpoint_url"]
    reading = TuneStorage(basepath=f"{azure_bucket.url}/p", token=token, endpoint_url=endpoint)
    assert reading.read_path("a") == b"1"
    with pytest.raises(StorageError, match=r"access is denied.*need permission to") as raised:
        reading.write_path("a", b"2")
    assert token not in str(raised.value)
    assert storage.read_path("a") == b"1"
