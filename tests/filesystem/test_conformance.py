from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from prefect_tune.filesystem import fsspec_backend
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from tests.clouds.bucket import CloudBucket
from tests.clouds.webhdfs import webhdfs_server
from tests.filesystem.store_conformance import StoreConformance
from tests.s3.endpoint import Bucket
from tests.s3.moto_main import LISTING


class TestLocal(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Store:
        return open_store(Location(str(tmp_path_factory.mktemp("store") / "not yet made")))


class TestMemory(StoreConformance):
    listing = 0  # it has no pages

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store(Location(f"memory://{uuid.uuid4().hex}/below"))
        yield store
        store.delete_tree("")


class TestObjectStore(StoreConformance):
    """As Google's and Azure's: no directories are made, and nothing is renamed."""

    listing = 0  # it has no pages

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        def refuse(*arguments: object, **more: object) -> None:
            raise PermissionError("least privileges")

        def put_file(self: MemoryFileSystem, source: str, target: str) -> None:
            self.pipe_file(target, Path(source).read_bytes())

        for method in ("makedirs", "mkdir", "mv", "rm"):
            monkeypatch.setattr(MemoryFileSystem, method, refuse)
        monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
        monkeypatch.setattr(fsspec_backend, "OBJECT_STORES", ("memory",))
        store = open_store(Location(f"memory://{uuid.uuid4().hex}/below"))
        yield store
        store.delete_tree("")


class TestFileSystemWithDirectories(StoreConformance):
    """As HDFS, SFTP and SMB have them: made when needed, and files appear as they are written."""

    listing = 0  # a directory is listed at once

    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Store:
        return open_store(Location(f"local://{tmp_path_factory.mktemp('store')}/not yet made"))


class TestWebHdfs(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        with webhdfs_server(tmp_path_factory.mktemp("hdfs")) as hdfs:
            yield open_store(Location(f"{hdfs.url}/not yet/made"))

    @pytest.mark.skip("A directory is listed at once there, which takes no thousand files to see.")
    def test_more_files_than_a_listing_has(self, store: Store) -> None:
        raise NotImplementedError


@pytest.mark.slow  # as all that needs requirements-clouds.txt
class TestHdfsThroughArrow(StoreConformance):
    """fsspec's wrapper of pyarrow is real, Hadoop is a local directory."""

    @pytest.fixture
    def store(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Store:
        arrow = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed")
        monkeypatch.setattr(arrow, "HadoopFileSystem", lambda **more: arrow.LocalFileSystem())
        place = tmp_path_factory.mktemp("hdfs") / "not yet made"
        return open_store(Location(f"hdfs://namenode:8020{place}"))


class TestS3(StoreConformance):
    listing = LISTING

    @pytest.fixture
    def store(self, s3_bucket: Bucket) -> Store:
        return open_store(Location(f"{s3_bucket.url}/some/prefix", s3_bucket.options))


class TestSwift(StoreConformance):
    @pytest.fixture
    def store(self, swift_bucket: Bucket) -> Store:
        return open_store(Location(f"{swift_bucket.url}/some/prefix", swift_bucket.options))


class TestGoogle(StoreConformance):
    @pytest.fixture
    def store(self, gcs_bucket: CloudBucket) -> Store:
        return open_store(Location(f"{gcs_bucket.url}/some/prefix", gcs_bucket.options))

    @pytest.mark.skip("The emulator has no pages, and takes a minute to show it.")
    def test_more_files_than_a_listing_has(self, store: Store) -> None:
        raise NotImplementedError


class TestAzure(StoreConformance):
    @pytest.fixture
    def store(self, azure_bucket: CloudBucket) -> Store:
        return open_store(Location(f"{azure_bucket.url}/some/prefix", azure_bucket.options))


def test_a_file_url_is_local(tmp_path: Path) -> None:
    open_store(Location(f"file://{tmp_path}/x")).write("a", b"1")
    assert (tmp_path / "x" / "a").read_bytes() == b"1"


def test_a_whole_bucket(s3_bucket: Bucket, tmp_path: Path) -> None:
    store = open_store(Location(s3_bucket.url, s3_bucket.options))
    store.write("a/b", b"1")
    assert store.sizes() == {"a/b": 1}
    assert store.read("a/b") == b"1"
    store.get_tree("", tmp_path)
    assert (tmp_path / "a" / "b").read_bytes() == b"1"
    store.delete_tree("")
    assert store.sizes() == {}


def test_a_rename_whose_answer_was_lost_is_not_undone_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = MemoryFileSystem.mv
    renames = []

    def answer_lost(self: MemoryFileSystem, old: str, new: str) -> None:
        rename(self, old, new)
        renames.append(new)
        if len(renames) == 1:
            raise TimeoutError

    monkeypatch.setattr(MemoryFileSystem, "mv", answer_lost)
    store = open_store(Location(f"memory://{uuid.uuid4().hex}"), Limits(first_delay_s=0.01))
    (tmp_path / "file").write_bytes(b"all of it")
    store.put_tree(tmp_path, "", names=["file"])
    assert store.read("file") == b"all of it"
    assert len(renames) == 1
    store.delete_tree("")
