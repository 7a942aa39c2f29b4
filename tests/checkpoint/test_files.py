"""Copies are copies, whatever the file system can do."""

import errno
import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from prefect_tune.checkpoint.files import clone_file, clone_tree, remove_tree

from .trees import FILES, on_disk, read_tree, write_tree


def _refuse(code):
    def refuse(*_arguments):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture(params=["as it is", "nothing in the kernel"])
def file_system(request, monkeypatch):
    if request.param == "nothing in the kernel":
        monkeypatch.setattr(os, "copy_file_range", _refuse(errno.EXDEV))


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_a_file_is_copied_whole_and_is_a_file_of_its_own(file_system, tmp_path, size):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(size))
    source.chmod(0o750)

    clone_file(source, target)

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode == source.stat().st_mode
    before = source.read_bytes()
    target.write_bytes(b"changed")
    assert source.read_bytes() == before


def test_a_copy_that_stops_in_the_middle_is_carried_on(monkeypatch, tmp_path):
    copy, calls = os.copy_file_range, []

    def interrupted(reader, writer, count, *offsets):
        calls.append(count)
        if len(calls) > 1:
            raise OSError(errno.EINVAL, "not any more")
        return copy(reader, writer, 1000, *offsets)

    monkeypatch.setattr(os, "copy_file_range", interrupted)
    (tmp_path / "a").write_bytes(bytes(range(256)) * 10)

    clone_file(tmp_path / "a", tmp_path / "b")

    assert len(calls) == 2
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_full_disk_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "copy_file_range", _refuse(errno.ENOSPC))
    (tmp_path / "a").write_bytes(b"1")

    with pytest.raises(OSError, match="No space left"):
        clone_file(tmp_path / "a", tmp_path / "b")


@on_disk
@given(FILES)
def test_a_directory_is_copied_whole(tree):
    with tempfile.TemporaryDirectory() as directory:
        source = write_tree(Path(directory, "a"), tree)

        clone_tree(source, Path(directory, "b"))

        assert read_tree(Path(directory, "b")) == tree == read_tree(source)


def test_links_become_copies_and_what_is_no_file_is_left_out(tmp_path):
    source = write_tree(tmp_path / "a", {"sub/model": b"123"})
    (source / "latest").symlink_to("sub/model")
    (source / "gone").symlink_to("nowhere")
    (source / "sub" / "up").symlink_to("..")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))

        clone_tree(source, tmp_path / "b")

    assert read_tree(tmp_path / "b") == {"sub/model": b"123", "latest": b"123"}
    assert not (tmp_path / "b" / "latest").is_symlink()
    assert os.readlink(tmp_path / "b" / "gone") == "nowhere"
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"sub", "latest", "gone"}


def test_a_copy_into_itself_ends(tmp_path):
    write_tree(tmp_path, {"a": b"1", "sub/b": b"2"})

    clone_tree(tmp_path, tmp_path / "sub" / "copy")

    assert read_tree(tmp_path / "sub" / "copy") == {"a": b"1", "sub/b": b"2"}


def test_removing_what_is_not_there_is_no_error(tmp_path):
    remove_tree(tmp_path / "nowhere")
    remove_tree(write_tree(tmp_path / "a", {"b": b"1"}))

    assert list(tmp_path.iterdir()) == []
