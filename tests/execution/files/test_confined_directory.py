"""Files below a directory, and nothing outside."""

from __future__ import annotations

import os

import pytest

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.files.confined_directory import (
    CHUNK_BYTES,
    ConfinedDirectory,
    Piece,
    arriving_name,
)
from prefect_tune.execution.files.node_files import is_checkpoint
from tests.execution.loopback import content, make_checkpoint

ARRIVING = arriving_name("checkpoint_000001", "ab")


@pytest.fixture
def area(tmp_path):
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "experiment"
    (root / "trial").mkdir(parents=True)
    (root / "trial" / "file").write_bytes(b"0123456789")
    (root / "trial" / "out").symlink_to(tmp_path / "secret")
    (root / "trial" / "up").symlink_to(tmp_path)
    (root / "trial" / "same").symlink_to("file")
    return ConfinedDirectory(root)


OUTSIDE = [
    "../secret",
    "trial/../../secret",
    "trial/..",
    "/etc/passwd",
    "trial/out",
    "trial/up/secret",
    "",
    ".",
    "trial\0",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_read_or_written(area, path):
    with pytest.raises(StorageError, match=r"below|leads out"):
        area.read([Piece(path, 0, 1)])
    with pytest.raises(StorageError, match=r"below|leads out"):
        area.put(path, 0, b"x")
    with pytest.raises(StorageError, match=r"below|leads out"):
        area.files(path, is_checkpoint)
    with pytest.raises(StorageError):
        area.write([Piece(path, 0, 1)], [b"x"])
    with pytest.raises(StorageError):
        area.publish(path, "trial/checkpoint_000001")
    with pytest.raises(StorageError):
        area.publish(f"trial/{ARRIVING}", path)
    with pytest.raises(StorageError):
        area.discard(path)
    assert (area.root.parent / "secret").read_text() == "secret"


def test_a_link_that_stays_inside_is_followed(area):
    assert area.read([Piece("trial/same", 2, 3)]) == [b"234"]


def test_parts_of_files(area):
    assert area.read([Piece("trial/file", 0, 4), Piece("trial/file", 8, 4)]) == [b"0123", b"89"]
    with pytest.raises(CheckpointUnreadable, match="missing"):
        area.read([Piece("trial/nothing", 0, 4)])
    with pytest.raises(StorageError, match="not a regular file"):
        area.read([Piece("trial", 0, 4)])
    with pytest.raises(StorageError, match="at once"):
        area.read([Piece("trial/file", 0, CHUNK_BYTES), Piece("trial/file", 0, 1)])


def test_a_pipe_blocks_nobody(area):
    os.mkfifo(area.root / "trial" / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        area.read([Piece("trial/pipe", 0, 1)])


def test_what_is_written_from_elsewhere_goes_to_arriving_directories_only(area):
    with pytest.raises(StorageError, match="not in the directory of an incoming"):
        area.write([Piece("trial/file", 0, 1)], [b"x"])
    with pytest.raises(StorageError, match="not the directory of an incoming"):
        area.discard("trial")
    area.write([Piece(f"trial/{ARRIVING}/a/b", 2, 1)], [b"x"])
    assert (area.root / "trial" / ARRIVING / "a" / "b").read_bytes() == b"\0\0x"
    area.discard(f"trial/{ARRIVING}")
    assert not (area.root / "trial" / ARRIVING).exists()


def test_a_checkpoint_is_published_once_and_only_complete(area):
    trial = area.root / "trial"
    incomplete = make_checkpoint(trial / ARRIVING, {"a": b"1", "b": b"2"})
    (incomplete / "b").unlink()
    with pytest.raises(CheckpointUnreadable, match="b is missing"):
        area.publish(f"trial/{ARRIVING}", "trial/checkpoint_000001")
    assert not list(trial.glob("*checkpoint*"))

    make_checkpoint(trial / ARRIVING, {"a": b"1", "b": b"2"})
    area.publish(f"trial/{ARRIVING}", "trial/checkpoint_000001")
    area.publish(f"trial/{ARRIVING}", "trial/checkpoint_000001")  # its answer was lost
    assert [path.name for path in trial.glob("*checkpoint*")] == ["checkpoint_000001"]
    assert content(trial / "checkpoint_000001")["b"] == b"2"


def test_a_listing_leaves_out_checkpoints_and_links(area):
    make_checkpoint(area.root / "trial" / "checkpoint_000001", {"a": b"1"})
    make_checkpoint(area.root / "trial" / ".checkpoint_000002.tmp-1", {"a": b"1"})
    (area.root / "trial" / "sub").mkdir()
    (area.root / "trial" / "sub" / "checkpoint_mine").write_text("x")
    found = area.files("trial", is_checkpoint)
    assert {path: status.size for path, status in found.items()} == {
        "file": 10,
        "sub/checkpoint_mine": 1,
    }
    assert area.files("no/such", is_checkpoint) == {}
