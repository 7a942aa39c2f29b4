"""What WebHDFS, and fsspec's client for it, do in ways of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_tune.blocks import TuneStorage
from prefect_tune.error import InvalidArgument, StorageError, StorageUnavailable
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from tests.clouds.webhdfs import WebHdfs, webhdfs_server

QUICK = Limits(request_s=10.0, outage_s=20.0, first_delay_s=0.01, max_delay_s=0.1)
SHORT = Limits(request_s=10.0, outage_s=0.1, first_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def hdfs(tmp_path: Path) -> Iterator[WebHdfs]:
    (tmp_path / "hdfs").mkdir()
    with webhdfs_server(tmp_path / "hdfs") as server:
        yield server


@pytest.fixture
def store(hdfs: WebHdfs) -> Store:
    return open_store(Location(f"{hdfs.url}/p"), QUICK)


def test_an_error_of_a_data_node_is_no_content(store: Store, hdfs: WebHdfs, tmp_path: Path) -> None:
    store.write("a", b"1")
    hdfs.refused["OPEN"] = 2  # fsspec takes the text of the error for the file
    assert store.read("a") == b"1"
    hdfs.refused["OPEN"] = 2
    store.get_tree("", tmp_path / "down")
    assert (tmp_path / "down" / "a").read_bytes() == b"1"


def test_a_rename_that_was_not_done_is_made_again(store: Store, hdfs: WebHdfs) -> None:
    store.write("a", b"old")
    hdfs.lost_renames = 2  # which is no error for fsspec
    store.write("a", b"new")
    assert store.read("a") == b"new"
    assert store.sizes() == {"a": 3}


def test_a_name_node_that_is_not_ready_is_waited_for(hdfs: WebHdfs) -> None:
    store = open_store(Location(f"{hdfs.url}/p"), SHORT)
    for exception, text in (
        ("StandbyException", "Operation category READ is not supported in state standby"),
        ("SafeModeException", "Cannot create file/p/a. Name node is in safe mode."),
    ):
        hdfs.denied["MKDIRS"] = exception, text
        with pytest.raises(StorageUnavailable, match="Gave up after"):
            store.write("a", b"1")


def test_who_is_refused_hears_so(store: Store, hdfs: WebHdfs) -> None:
    hdfs.denied["MKDIRS"] = "AccessControlException", "Permission denied: user=dr.who"
    with pytest.raises(StorageError, match=r"access is denied .*user=dr\.who") as raised:
        store.write("a", b"1")
    assert not isinstance(raised.value, StorageUnavailable)


def test_the_user_of_a_block_is_the_one_who_asks(hdfs: WebHdfs) -> None:
    storage = TuneStorage(basepath=f"{hdfs.url}/p", key="ada")
    storage.write_path("a", b"1")
    assert storage.read_path("a") == b"1"
    assert hdfs.users == {"ada"}


def test_what_hdfs_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it was not installed
    with pytest.raises(InvalidArgument, match="pip install pyarrow"):
        parse_location("hdfs://namenode:8020/tune")
