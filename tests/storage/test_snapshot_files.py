"""Snapshot files: whole or not there, and never another run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_tune.error import StorageError
from prefect_tune.storage.snapshot_files import (
    SNAPSHOT_FILE,
    TRIALS_FILE,
    SnapshotFiles,
    SnapshotHead,
    SnapshotUnusable,
)


def head(origin: str = "run", **fields: Any) -> SnapshotHead:
    return SnapshotHead(
        **{
            "origin": origin,
            "records": 7,
            "last_record": 123,
            "suggested": 3,
            "told": 2,
            "scheduler": "s",
            "stopper": "t",
            "prefect_tune": "1",
            "python": "3",
        }
        | fields
    )


def load(path: Path, origin: str = "run") -> tuple[SnapshotHead, bytes, list[bytes]] | None:
    files = SnapshotFiles(path)
    found = files.load_head(origin)
    return None if found is None else (found, *files.load(found))


def saved(path: Path) -> SnapshotFiles:
    files = SnapshotFiles(path)
    files.add_trials(b"one")
    files.add_trials(b"two\n")
    files.save(head(), b"body\nof bytes\x00")
    return files


def test_what_was_saved_comes_back(tmp_path):
    assert load(tmp_path) is None
    saved(tmp_path)
    found = load(tmp_path)
    assert found is not None
    assert found[0].records == 7
    assert found[1:] == (b"body\nof bytes\x00", [b"one", b"two\n"])


def test_without_finished_trials(tmp_path):
    SnapshotFiles(tmp_path).save(head(), b"body")
    found = load(tmp_path)
    assert found is not None
    assert found[1:] == (b"body", [])


def test_the_snapshot_of_another_run_is_none(tmp_path):
    saved(tmp_path)
    assert load(tmp_path, "other") is None


def test_trials_that_no_snapshot_knows_yet_do_not_matter(tmp_path):
    files = saved(tmp_path)
    files.add_trials(b"three")
    found = load(tmp_path)
    assert found is not None
    assert found[2] == [b"one", b"two\n"]


def test_the_next_process_goes_on_behind_the_last_snapshot(tmp_path):
    files = saved(tmp_path)
    files.add_trials(b"killed behind this")
    following = SnapshotFiles(tmp_path)
    last = following.load_head("run")
    assert last is not None
    following.load(last)
    following.add_trials(b"3")
    following.save(head(records=9), b"next")
    found = load(tmp_path)
    assert found is not None
    assert found[0].records == 9
    assert found[1:] == (b"next", [b"one", b"two\n", b"3"])


def test_what_begins_anew_keeps_nothing(tmp_path):
    saved(tmp_path)
    files = SnapshotFiles(tmp_path)
    files.add_trials(b"new")
    files.save(head("second"), b"b")
    found = load(tmp_path, "second")
    assert found is not None
    assert found[2] == [b"new"]


@pytest.mark.parametrize("name", [SNAPSHOT_FILE, TRIALS_FILE])
def test_damage_anywhere_is_noticed(tmp_path, name):
    saved(tmp_path)
    path = tmp_path / name
    good = path.read_bytes()
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 0x11
        path.write_bytes(damaged)
        with pytest.raises(SnapshotUnusable):
            load(tmp_path)
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(SnapshotUnusable):
            load(tmp_path)


def test_a_missing_file_of_trials(tmp_path):
    saved(tmp_path)
    (tmp_path / TRIALS_FILE).unlink()
    with pytest.raises(SnapshotUnusable, match=TRIALS_FILE):
        load(tmp_path)


def test_a_newer_format(tmp_path):
    saved(tmp_path)
    SnapshotFiles(tmp_path).save(head(format=3), b"body")
    with pytest.raises(SnapshotUnusable, match="format 3, not 2"):
        load(tmp_path)


def test_what_cannot_be_written_leaves_the_old_one(tmp_path):
    files = saved(tmp_path)
    (tmp_path / f".{SNAPSHOT_FILE}.tmp").mkdir()
    with pytest.raises(StorageError, match="cannot write the snapshot"):
        files.save(head(records=9), b"next")
    found = load(tmp_path)
    assert found is not None
    assert found[0].records == 7


def test_one_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    saved(tmp_path)
    files = SnapshotFiles(tmp_path)
    found = files.load_head("run")
    assert found is not None
    (tmp_path / SNAPSHOT_FILE).unlink()
    with pytest.raises(SnapshotUnusable, match="cannot be read"):
        files.load(found)
