from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.filesystem.blocks import resolve_block
from prefect_tune.filesystem.connect import connect
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location


@pytest.fixture
def blocks(monkeypatch):
    options = {"key": "me", "secret": "hidden"}
    block = SimpleNamespace(basepath="s3://bucket/base/", storage_options=lambda: options)
    saved = {"tune-storage/prod": block}
    load_blocks_with(monkeypatch, saved.__getitem__)
    return saved


def load_blocks_with(monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]) -> None:
    module = SimpleNamespace(load_storage=load)
    monkeypatch.setitem(sys.modules, "prefect_tune.blocks", module)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/a/b/", "/a/b"),
        ("file:///a/b", "/a/b"),
        (Path("/a"), "/a"),
        ("relative", os.path.abspath("relative")),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("memory://a/b", "memory://a/b"),
        ("memory://a/b//", "memory://a/b"),
        ("s3://bucket/run #1/50%/\u00fc", "s3://bucket/run #1/50%/\u00fc"),
        ("/a/run #1/50%20?", "/a/run #1/50%20?"),
        ("file:/a/b", "/a/b"),
        ("file://localhost/a/b", "/a/b"),
        ("FILE:///a/b", "/a/b"),
        ("file://relative", os.path.abspath("relative")),
    ],
)
def test_paths_and_urls(value: object, url: str) -> None:
    assert parse_location(value) == Location(url)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_location("~/results").path == "/home/me/results"


def test_options_in_an_s3_url() -> None:
    location = parse_location("s3://b/c?endpoint_override=localhost:9000&scheme=http&region=x")
    assert location.url == "s3://b/c"
    assert location.options == {
        "endpoint_url": "http://localhost:9000",
        "client_kwargs": {"region_name": "x"},
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "got NoneType"),
        ("", "empty text"),
        (3, "got int"),
        (b"/a", "bytes"),
        ("s3:///a", "no bucket"),
        ("s3://key:secret@bucket/a", "holds a password"),
        ("s3://key:secr#secret@bucket/a", "holds a password"),
        ("s3://key:12/secret@bucket/a", "holds a password"),
        ("S3A://key:se/cr/et@bucket/a", "holds a password"),
        ("sftp://me:se/cret@host/a", "holds a password"),
        ("memory://", "names no directory"),
        ("memory:///", "names no directory"),
        ("s3://bucket?access_key=1", "unknown options access_key"),
        ("nothing://a", "no file system is known for nothing://"),
        ("block://x", "names no block"),
    ],
)
def test_what_is_no_place(value: object, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        parse_location(value, "upload_dir")
    assert caught.value.argument == "upload_dir"
    assert "secret" not in str(caught.value)


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(protocol: str) -> None:
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", fail)
    with pytest.raises(InvalidArgument, match="pip install gcsfs"):
        parse_location("gs://bucket/a")


def test_a_block_is_named_and_its_secrets_stay_in_it(blocks: dict[str, object]) -> None:
    location = parse_location("block://tune-storage/prod/more/below")
    assert location == Location("s3://bucket/base/more/below", {}, "tune-storage/prod")
    assert "hidden" not in repr(location)
    assert resolve_block("tune-storage/prod") == {"key": "me", "secret": "hidden"}


def test_a_block_that_is_not_there(blocks: dict[str, object]) -> None:
    with pytest.raises(StorageError, match=r"tune-storage/other.*saved on the Prefect server"):
        parse_location("block://tune-storage/other")


def test_an_object_that_knows_its_location() -> None:
    class Block:
        def get_location(self) -> Location:
            return Location("s3://b", {}, "tune-storage/x")

    assert parse_location(Block()) == Location("s3://b", {}, "tune-storage/x")


def test_a_file_system() -> None:
    memory = fsspec.filesystem("memory")
    assert parse_location("a/b", filesystem=memory).url == "memory:///a/b"
    assert parse_location("/a/b", filesystem=fsspec.filesystem("file")) == Location("/a/b")
    s3 = fsspec.filesystem("s3", anon=True, endpoint_url="http://x")
    location = parse_location("bucket/a", filesystem=s3)
    assert location == Location("s3://bucket/a", {"anon": True, "endpoint_url": "http://x"})


def test_what_is_no_file_system() -> None:
    with pytest.raises(InvalidArgument, match="storage_filesystem"):
        parse_location("a", filesystem=object())
    with pytest.raises(InvalidArgument, match="storage_path"):
        parse_location(None, filesystem=fsspec.filesystem("memory"))


def test_options_that_do_not_fit_are_said_without_secrets() -> None:
    location = Location("s3://b/c", {"key": "me", "username": "you", "secret": "hidden-value"})
    with pytest.raises(StorageError, match="cannot open s3://b/c with these storage options") as e:
        connect(location)
    assert "hidden-value" not in str(e.value)


def test_one_file_system_per_process() -> None:
    location = Location("memory://x/y")
    first, _ = connect(location)
    assert connect(location / "below")[0] is first
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"1" if connect(location)[0] is first else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"0"
    os.close(read)
    os.close(write)


def test_the_address_of_the_server_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(slug: str) -> dict[str, object]:
        raise ConnectionError("cannot reach https://me:hush@prefect.example/api")

    load_blocks_with(monkeypatch, refused)
    with pytest.raises(StorageError, match=r"prefect\.example") as caught:
        resolve_block("tune-storage/x")
    assert "hush" not in str(caught.value)
