"""A directory is a checkpoint, or it says what it lacks."""

import json
import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.checkpoint.manifest import (
    MARKER,
    Manifest,
    file_sizes,
    publish,
    read_manifest,
    verify,
    write_manifest,
)
from prefect_tune.experiment.checkpoints import Progress

from .trees import FILES, on_disk, read_tree, write_tree

SOME = FILES.filter(bool)


@pytest.fixture
def checkpoint(tmp_path):
    directory = write_tree(tmp_path / "c", {"model.pt": b"12345", "sub/part": b"1"})
    write_manifest(directory, Progress(3), metadata={"loss": math.nan})
    return directory


@on_disk
@given(FILES, st.integers(0), st.dictionaries(st.text(), st.integers() | st.text()))
def test_what_is_written_is_read(files, iteration, metadata):
    with tempfile.TemporaryDirectory() as directory:
        write_tree(Path(directory), files)

        written = write_manifest(directory, Progress(iteration), metadata=metadata)

        assert verify(directory) == ""
        assert read_manifest(directory) == written
        assert written.files == {name: len(data) for name, data in files.items()}
        assert (written.iteration, written.metadata) == (iteration, metadata)


def test_the_whole_progress_is_kept(tmp_path):
    progress = Progress(7, 1.5, 300, 2)

    write_manifest(tmp_path, progress)

    assert read_manifest(tmp_path).progress == progress


@on_disk
@given(SOME, st.data())
def test_a_missing_file_is_named(files, data):
    lost = data.draw(st.sampled_from(sorted(files)))
    with tempfile.TemporaryDirectory() as directory:
        write_manifest(write_tree(Path(directory), files))
        Path(directory, lost).unlink()

        assert verify(directory) == f"{lost} is missing"


@on_disk
@given(SOME, st.data())
def test_another_size_is_named(files, data):
    changed = data.draw(st.sampled_from(sorted(files)))
    content = data.draw(st.binary(max_size=20).filter(lambda c: len(c) != len(files[changed])))
    with tempfile.TemporaryDirectory() as directory:
        write_manifest(write_tree(Path(directory), files))
        Path(directory, changed).write_bytes(content)

        problem = verify(directory)

        assert problem == f"{changed} has {len(content)} bytes instead of {len(files[changed])}"


@on_disk
@given(SOME, st.data())
def test_a_damaged_list_is_never_good_for_files_that_changed(files, data):
    lost = data.draw(st.sampled_from(sorted(files)))
    with tempfile.TemporaryDirectory() as directory:
        write_manifest(write_tree(Path(directory), files))
        marker = Path(directory, MARKER)
        whole = marker.read_bytes()
        marker.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        Path(directory, lost).unlink()

        assert MARKER in verify(directory)
        assert read_manifest(directory) is None


@on_disk
@given(st.data())
def test_no_flipped_byte_of_the_list_is_an_unexpected_error(data):
    with tempfile.TemporaryDirectory() as directory:
        write_manifest(write_tree(Path(directory), {"model.pt": b"12345"}), Progress(3))
        marker = Path(directory, MARKER)
        content = bytearray(marker.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        marker.write_bytes(content)

        assert isinstance(verify(directory), str)
        read_manifest(directory)


def _body(**changes):
    return json.dumps({"format": 1, "files": {"a": 1}, "iteration": 1, "metadata": {}} | changes)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not readable"),
        ('{"format": 1, "files": {"model', "not readable"),
        ("[" * 100_000, "not readable"),
        ("[]", "not the list"),
        ('{"files": {}}', "not the list"),
        (_body(files=["model.pt"]), "not the list"),
        (_body(metadata=3), "not the list"),
        (_body(format=2), "has format 2; this version reads up to 1"),
        (_body(files={"../../x": 1}), r"lists '\.\./\.\./x'"),
        (_body(files={"/etc/passwd": 1}), "lists '/etc/passwd'"),
        (_body(files={"": 1}), "lists ''"),
        (_body(files={"a": -1}), "with the size -1"),
        (_body(files={"a": "1"}), "with the size '1'"),
        (_body(files={"a": True}), "with the size True"),
    ],
)
def test_what_is_no_manifest_says_why(content, problem):
    with pytest.raises(ValueError, match=problem):
        Manifest.decode(content.encode())


def test_what_is_unknown_about_the_progress_is_left_out():
    body = _body(iteration="x", time_total_s=10**400, timesteps_total=[1])

    assert Manifest.decode(body.encode()).progress == Progress()


def test_directories_that_are_no_checkpoints_say_so(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "half").mkdir()

    assert verify(tmp_path / "nowhere") == "there is no such directory"
    assert verify(tmp_path / "file") == "there is no such directory"
    assert verify(tmp_path / "half") == f"it has no {MARKER}: it was not written to its end"
    assert read_manifest(tmp_path / "half") is None


def test_several_wrong_files_are_counted():
    manifest = Manifest(dict.fromkeys("abcde", 1))

    assert manifest.mismatch({}) == "a is missing, b is missing, c is missing, and 2 more"
    assert manifest.mismatch(dict.fromkeys("abcdef", 1)) == ""


def test_links_count_as_what_they_lead_to_and_loops_end(tmp_path):
    write_tree(tmp_path, {"sub/model": b"123"})
    (tmp_path / "latest").symlink_to("sub/model")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "sub" / "up").symlink_to("..")

    assert file_sizes(tmp_path) == {"latest": 3, "sub/model": 3}


def test_a_commit_makes_the_checkpoint_appear_whole(tmp_path):
    temporary = write_tree(tmp_path / ".c.tmp-1", {"model.pt": b"123"})

    write_manifest(temporary, Progress(2), metadata={"a": 1})
    publish(temporary, tmp_path / "c")

    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert verify(tmp_path / "c") == ""
    assert read_manifest(tmp_path / "c").metadata == {"a": 1}


def test_a_commit_replaces_what_is_left_there(tmp_path):
    for content in (b"old", b"newer"):
        temporary = write_tree(tmp_path / ".c.tmp-1", {content.decode(): content})
        write_manifest(temporary)
        publish(temporary, tmp_path / "c")

    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert read_manifest(tmp_path / "c").files == {"newer": 5}
    assert read_tree(tmp_path / "c").keys() == {MARKER, "newer"}


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path):
    write_tree(tmp_path / f".c.old-{os.getpid()}", {"half": b"removed"})
    for content in (b"old", b"newer"):
        temporary = write_tree(tmp_path / ".c.tmp-1", {content.decode(): content})
        write_manifest(temporary)
        publish(temporary, tmp_path / "c")

    assert read_manifest(tmp_path / "c").files == {"newer": 5}


def test_a_name_that_cannot_be_given_is_an_error_and_loses_nothing(tmp_path):
    temporary = write_tree(tmp_path / "t", {"a": b"1"})

    with pytest.raises(FileNotFoundError):
        publish(temporary, tmp_path / "nowhere" / "c")

    assert read_tree(temporary) == {"a": b"1"}


def test_metadata_without_a_json_form_leaves_the_manifest_as_it_was(checkpoint):
    before = read_tree(checkpoint)

    with pytest.raises(TypeError):
        write_manifest(checkpoint, metadata={"a": object()})

    assert read_tree(checkpoint) == before
    assert math.isnan(read_manifest(checkpoint).metadata["loss"])
