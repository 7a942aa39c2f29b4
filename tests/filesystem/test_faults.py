"""A store that answers errors, hangs, breaks connections or is gone."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from tests.filesystem.conftest import LARGE
from tests.filesystem.store_conformance import content
from tests.s3.endpoint import Bucket, Endpoint
from tests.s3.fault_proxy import FaultProxy
from tests.s3.faults import (
    INTERNAL_ERROR,
    SLOW_DOWN,
    WRONG_KEY,
    Answer,
    CutDownload,
    CutUpload,
    Delay,
    Drop,
    Fault,
    LoseAnswer,
)

QUICK = Limits(request_s=5.0, outage_s=10.0, first_delay_s=0.01, max_delay_s=0.1)
SHORT = Limits(request_s=10.0, outage_s=0.5, first_delay_s=0.01, max_delay_s=0.05)
PASSING = [SLOW_DOWN, INTERNAL_ERROR, Answer(502), Answer(429), Drop(), LoseAnswer()]


@pytest.fixture
def store(fault_bucket: Bucket) -> Store:
    return open_store(Location(f"{fault_bucket.url}/p", fault_bucket.options), QUICK)


def short(bucket: Bucket, limits: Limits = SHORT, **options: object) -> Store:
    return open_store(Location(f"{bucket.url}/p", {**bucket.options, **options}), limits)


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_everything_survives_failures_that_pass(
    store: Store, fault_proxy: FaultProxy, fault: Fault, tmp_path: Path
) -> None:
    def twice() -> None:
        fault_proxy.clear()
        fault_proxy.inject(fault, times=2)

    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "small").write_bytes(b"1")
    (tmp_path / "up" / "large").write_bytes(content(LARGE))
    twice()
    store.write("a", b"1")
    twice()
    assert store.read("a") == b"1"
    twice()
    assert store.sizes() == {"a": 1}
    twice()
    store.put_tree(tmp_path / "up", "tree")
    twice()
    store.get_tree("tree", tmp_path / "down")
    assert (tmp_path / "down" / "large").read_bytes() == content(LARGE)
    twice()
    store.delete_tree("tree")
    assert store.sizes() == {"a": 1}


@pytest.mark.parametrize("fault", [CutUpload(0.5), Drop(), INTERNAL_ERROR, LoseAnswer()], ids=str)
def test_only_a_failed_part_is_sent_again(
    store: Store, fault_proxy: FaultProxy, fault: Fault, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(content(LARGE))
    fault_proxy.inject(fault, times=1, path="partNumber=2")
    store.put_tree(tmp_path, "", names=["large"])
    sent = [
        seen.target.split("partNumber=")[1][0]
        for seen in fault_proxy.seen
        if "partNumber" in seen.target
    ]
    assert sorted(sent) == ["1", "2", "2", "3"]
    assert store.read("large") == content(LARGE)


def test_a_lost_answer_to_the_end_of_an_upload(
    store: Store, fault_proxy: FaultProxy, fault_bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(content(LARGE))
    lost = fault_proxy.inject(LoseAnswer(), times=1, methods=["POST"], path="uploadId=")
    store.put_tree(tmp_path, "", names=["large"])
    assert lost.hits == 1
    assert store.sizes() == {"large": LARGE}


def test_only_a_failed_range_is_fetched_again(
    store: Store, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    store.write("large", content(LARGE))
    fault_proxy.seen.clear()
    fault_proxy.inject(CutDownload(0.5), times=1, methods=["GET"], path="/large")
    store.get_tree("", tmp_path)
    assert (tmp_path / "large").read_bytes() == content(LARGE)
    assert len([seen for seen in fault_proxy.seen if "/p/large" in seen.target]) == 4


def test_a_hanging_request_is_given_up_and_made_again(
    fault_bucket: Bucket, fault_proxy: FaultProxy
) -> None:
    store = short(fault_bucket, Limits(request_s=0.3, outage_s=10, first_delay_s=0.01))
    fault_proxy.inject(Delay(30), times=2)
    store.write("a", b"1")
    assert store.read("a") == b"1"


def test_an_upload_that_fails_leaves_nothing(
    fault_bucket: Bucket, fault_proxy: FaultProxy, moto_server: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(content(LARGE))
    fault_proxy.inject(INTERNAL_ERROR, path="partNumber=3")
    with pytest.raises(StorageUnavailable, match=r"large: .*Gave up after"):
        short(fault_bucket).put_tree(tmp_path, "", names=["large"])
    behind = fault_bucket.at(moto_server)
    assert behind.keys() == []
    uploads = moto_server.client().list_multipart_uploads(Bucket=behind.name)
    assert uploads.get("Uploads", []) == []


def test_a_tree_that_fails_has_no_last_file(
    fault_bucket: Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    for name in ("a", "b", "marker"):
        (tmp_path / name).write_bytes(b"1")
    fault_proxy.inject(INTERNAL_ERROR, methods=["PUT"], path="/b")
    with pytest.raises(StorageUnavailable):
        short(fault_bucket).put_tree(tmp_path, "tree", last=("marker",))
    fault_proxy.clear()
    assert "marker" not in short(fault_bucket).sizes("tree")


def test_a_fetch_that_fails_leaves_nothing(
    fault_bucket: Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    store = short(fault_bucket)
    store.write("tree/a", b"1")
    store.write("tree/b", b"1")
    fault_proxy.inject(INTERNAL_ERROR, methods=["GET"], path="/tree/b")
    with pytest.raises(StorageUnavailable):
        store.get_tree("tree", tmp_path / "down")
    assert list((tmp_path / "down").iterdir()) == []


def test_a_store_that_is_away(fault_bucket: Bucket, fault_proxy: FaultProxy) -> None:
    store = short(fault_bucket, Limits(request_s=10, outage_s=2, first_delay_s=0.01))
    fault_proxy.go_away()
    with pytest.raises(StorageUnavailable, match=f"cannot write {fault_bucket.url}/p/a: .* tries"):
        store.write("a", b"1")
    fault_proxy.come_back()
    store.write("a", b"1")


def test_a_whole_call_has_a_limit(
    fault_bucket: Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(content(LARGE))
    store = short(fault_bucket, Limits(request_s=60, outage_s=60, total_s=0.5))
    fault_proxy.inject(Delay(30), path="partNumber")
    with pytest.raises(StorageUnavailable):
        store.put_tree(tmp_path, "", names=["large"])


def test_waiting_ends_when_it_is_cancelled(fault_bucket: Bucket, fault_proxy: FaultProxy) -> None:
    cancelled = threading.Event()
    location = Location(fault_bucket.url, fault_bucket.options)
    store = open_store(
        location, Limits(outage_s=3600, max_delay_s=3600, first_delay_s=3600), cancelled
    )
    fault_proxy.inject(INTERNAL_ERROR)
    failure: list[BaseException] = []

    def write() -> None:
        try:
            store.write("a", b"1")
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    while not fault_proxy.seen:
        time.sleep(0.01)
    cancelled.set()
    thread.join(30)
    assert isinstance(failure[0], StorageUnavailable)


def test_nothing_is_begun_when_it_is_cancelled(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    store = open_store(Location(str(tmp_path)), Limits(), cancelled)
    with pytest.raises(StorageUnavailable, match="the run is ending"):
        store.write("a", b"1")
    assert list(tmp_path.iterdir()) == []


def test_wrong_credentials_fail_at_once(
    fault_bucket: Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    store = short(fault_bucket, Limits(outage_s=3600), secret="sekrit-value")
    fault_proxy.inject(WRONG_KEY)
    for use in (
        lambda: store.read("a"),
        lambda: store.write("a", b"1"),
        lambda: store.sizes(),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(StorageError, match="the access key is not known there") as caught:
            use()
        text = str(caught.value)
        assert fault_bucket.url in text
        assert "TuneStorage block" in text
        assert "sekrit-value" not in text
        assert not isinstance(caught.value, StorageUnavailable)


def test_a_bucket_that_may_only_be_read(fault_bucket: Bucket, fault_proxy: FaultProxy) -> None:
    store = short(fault_bucket, Limits(outage_s=3600))
    store.write("a", b"1")
    fault_proxy.refuse_writes()
    for use in (lambda: store.write("b", b"1"), lambda: store.delete(["a"])):
        with pytest.raises(StorageError, match=r"access is denied.*permission to get, put"):
            use()
    assert store.read("a") == b"1"


def test_a_bucket_that_does_not_exist(s3_server: Endpoint, tmp_path: Path) -> None:
    store = open_store(Location("s3://no-such-bucket-at-all/p", s3_server.options))
    (tmp_path / "file").write_bytes(b"1")
    for use in (
        lambda: store.read("a"),
        lambda: store.sizes(),
        lambda: store.write("a", b"1"),
        lambda: store.put_tree(tmp_path, "", names=["file"]),
        lambda: store.get_tree("", tmp_path / "down"),
    ):
        with pytest.raises(StorageError, match=r"no such bucket.*none is ever created"):
            use()


def test_no_more_is_asked_than_the_least_privileges_allow(
    store: Store, fault_proxy: FaultProxy, fault_bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a").write_bytes(b"1")
    (tmp_path / "up" / "large").write_bytes(content(LARGE))
    store.put_tree(tmp_path / "up", "tree")
    store.read("tree/a")
    store.get_tree("tree", tmp_path / "down")
    store.delete(["tree/a"])
    store.delete_tree("tree")
    for seen in fault_proxy.seen:
        path, _, query = seen.target.partition("?")
        of_the_bucket = path.strip("/") == fault_bucket.name
        assert not of_the_bucket or (seen.method == "GET" and "list-type=2" in query), seen
        assert "prefix=p" in query or not of_the_bucket, seen
        assert seen.method != "HEAD"
        assert "delete" not in query.split("&"), "a bulk delete"


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """Files of this process cannot grow beyond this many bytes."""
    limit = 2**20
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(tmp_path: Path, file_size_limit: int) -> None:
    store = open_store(Location(str(tmp_path / "store")))
    store.write("a", b"good")
    with pytest.raises(StorageError, match=r"there is no space left.*Free space"):
        store.write("a", bytes(file_size_limit + 1))
    assert store.read("a") == b"good"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


def test_a_full_disk_while_fetching(
    s3_bucket: Bucket, tmp_path: Path, file_size_limit: int
) -> None:
    store = open_store(Location(s3_bucket.url, s3_bucket.options))
    store.write("large", bytes(file_size_limit + 1))
    with pytest.raises(StorageError, match=f"cannot write {tmp_path}.*no space left"):
        store.get_tree("", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    store = open_store(Location(str(tmp_path)))
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StorageError, match=r"it is read-only\. Give a `storage_path`"):
        store.write("a", b"1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.implementations.memory

    released = threading.Event()
    monkeypatch.setattr(
        fsspec.implementations.memory.MemoryFileSystem,
        "cat_file",
        lambda *arguments, **more: released.wait(60),
    )
    store = open_store(Location("memory://hanging"), Limits(request_s=0.1, outage_s=0.2))
    with pytest.raises(StorageUnavailable, match="no answer within"):
        store.read("a")
    released.set()
