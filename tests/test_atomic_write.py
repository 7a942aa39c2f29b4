"""Files that are replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_tune.atomic_write import write_atomic


def test_an_atomic_write_leaves_no_second_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "f"
    for data in (b"one", b"two"):
        write_atomic(str(path), data)
        assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == ["f"]


def test_only_the_user_may_read_what_is_private(tmp_path: Path) -> None:
    (tmp_path / ".secret.tmp").write_bytes(b"left over, longer than what comes")
    write_atomic(tmp_path / "secret", b"", b"s", mode=0o600)
    write_atomic(tmp_path / "public", b"p")
    assert (tmp_path / "secret").read_bytes() == b"s"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_full_disk_is_told_with_the_file_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "params.json"
    path.write_bytes(b"old")
    (tmp_path / ".params.json.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*params\.json"):
        write_atomic(path, b"{}")
    assert path.read_bytes() == b"old"
