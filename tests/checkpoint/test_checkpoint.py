"""Every form of a checkpoint can be turned into every other one."""

import os
import pickle
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune import air, train
from prefect_tune.air.checkpoint import Checkpoint
from prefect_tune.checkpoint.conversion import DICT_FILE, FILES_KEY
from prefect_tune.checkpoint.manifest import MARKER, read_manifest, verify, write_manifest
from prefect_tune.engine.setup.start_checkpoint import parse_restore
from prefect_tune.error import CheckpointUnreadable, InvalidArgument, TuneError
from prefect_tune.experiment.checkpoints import Progress

from .trees import FILES, PLAIN_FILES, on_disk, read_tree, write_tree

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
DICTS = st.dictionaries(st.text() | st.integers(), VALUES, max_size=4)


def test_it_is_found_at_all_of_rays_paths():
    assert tune.Checkpoint is air.Checkpoint is train.Checkpoint is Checkpoint


@on_disk
@given(DICTS)
def test_a_dict_survives_every_form(data):
    checkpoint = Checkpoint.from_dict(data)
    assert checkpoint.to_dict() == data
    assert Checkpoint.from_bytes(checkpoint.to_bytes()).to_dict() == data
    with tempfile.TemporaryDirectory() as directory:
        assert checkpoint.to_directory(directory) == directory
        assert Checkpoint.from_directory(directory).to_dict() == data
        again = Checkpoint.from_bytes(Checkpoint(directory).to_bytes())
        assert again.to_dict() == data


@on_disk
@given(FILES)
def test_a_directory_survives_every_form(files):
    with tempfile.TemporaryDirectory() as place:
        source = Checkpoint.from_directory(write_tree(Path(place, "a"), files))

        by_dict = Checkpoint.from_dict(source.to_dict())
        by_bytes = Checkpoint.from_bytes(source.to_bytes())

        for number, checkpoint in enumerate((source, by_dict, by_bytes)):
            copy = checkpoint.to_directory(Path(place, str(number)))
            assert read_tree(copy) == files


@on_disk
@given(DICTS.filter(bool), FILES)
def test_a_directory_with_a_dict_and_more_survives(data, files):
    files.pop(DICT_FILE, None)
    with tempfile.TemporaryDirectory() as place:
        directory = write_tree(Path(place, "a"), files)
        Checkpoint.from_dict(data).to_directory(directory)

        mixed = Checkpoint(directory).to_dict()
        copy = Checkpoint.from_dict(mixed).to_directory(Path(place, "b"))

        assert {key: value for key, value in mixed.items() if key != FILES_KEY} == data
        assert Checkpoint(copy).to_dict() == mixed
        assert read_tree(copy).keys() == read_tree(directory).keys()


@pytest.mark.parametrize("root", ["file://{}", "{}", "memory://checkpoints{}"])
@on_disk
@given(files=PLAIN_FILES, metadata=st.dictionaries(st.text(), st.integers()))
def test_a_directory_survives_storage(root, files, metadata):
    with tempfile.TemporaryDirectory() as place:
        uri = root.format(Path(place, "kept"))
        checkpoint = Checkpoint.from_directory(write_tree(Path(place, "a"), files))
        checkpoint.set_metadata(metadata)

        assert checkpoint.to_uri(uri) == uri
        back = Checkpoint.from_uri(uri)

        copy = back.to_directory(Path(place, "b"))
        assert verify(copy) == ""
        assert {name: data for name, data in read_tree(copy).items() if name != MARKER} == files
        assert back.get_metadata() == metadata


def test_storing_again_replaces_the_manifest_too(tmp_path):
    source = write_tree(tmp_path / "a", {"model": b"1"})
    write_manifest(source, Progress(5))
    (source / "model").write_bytes(b"trained on")

    Checkpoint(source).to_uri("memory://again/c")

    copy = Checkpoint.from_uri("memory://again/c").to_directory(tmp_path / "b")
    assert read_manifest(copy).iteration == 5
    assert (tmp_path / "b" / "model").read_bytes() == b"trained on"


def test_a_damaged_checkpoint_in_storage_is_named(tmp_path):
    uri = "memory://damaged/c"
    Checkpoint(write_tree(tmp_path / "a", {"model": b"12", "more": b"1"})).to_uri(uri)
    fsspec.filesystem("memory").rm("/damaged/c/model")

    with pytest.raises(CheckpointUnreadable, match=r"memory://damaged/c.*model is missing"):
        Checkpoint.from_uri(uri).to_directory(tmp_path / "b")


def test_nothing_in_storage_is_named(tmp_path):
    with pytest.raises(CheckpointUnreadable, match="no checkpoint at memory://nothing/here"):
        Checkpoint.from_uri("memory://nothing/here").to_dict()


def test_a_new_temporary_directory_is_made_for_nothing_said(tmp_path):
    source = write_tree(tmp_path / "a", {"x": b"1"})

    copy = Checkpoint(source).to_directory()

    assert read_tree(copy) == {"x": b"1"}
    assert Path(copy) != source
    Path(copy, "x").unlink()
    assert read_tree(source) == {"x": b"1"}


def test_as_directory_gives_a_local_one_itself_and_removes_copies(tmp_path):
    source = write_tree(tmp_path / "a", {"x": b"1"})
    with Checkpoint(source).as_directory() as directory:
        assert directory == str(source)
    assert source.exists()

    with Checkpoint.from_dict({"a": 1}).as_directory() as directory:
        assert Checkpoint(directory).to_dict() == {"a": 1}
    assert not os.path.exists(directory)


def test_a_copy_to_its_own_directory_changes_nothing(tmp_path):
    source = write_tree(tmp_path / "a", {"x": b"1"})

    assert Checkpoint(source).to_directory(source) == str(source)

    assert read_tree(source) == {"x": b"1"}


@pytest.mark.parametrize("kind", ["dict", "directory", "complete", "remote"])
def test_metadata_can_be_had_set_and_updated(tmp_path, kind):
    checkpoint = Checkpoint.from_dict({"a": 1})
    if kind != "dict":
        checkpoint = Checkpoint(write_tree(tmp_path / "c", {"x": b"1"}))
    if kind == "complete":
        write_manifest(tmp_path / "c", Progress(4))
    if kind == "remote":
        checkpoint = Checkpoint(checkpoint.to_uri("memory://metadata/c"))
    assert checkpoint.get_metadata() == {}

    checkpoint.set_metadata({"a": 1, "b": 2})
    checkpoint.update_metadata({"b": 3})

    assert checkpoint.get_metadata() == {"a": 1, "b": 3}
    again = pickle.loads(pickle.dumps(checkpoint))
    assert again.get_metadata() == {"a": 1, "b": 3}
    by_bytes = Checkpoint.from_bytes(checkpoint.to_bytes())
    assert by_bytes.get_metadata() == {"a": 1, "b": 3}
    assert by_bytes.to_dict() == checkpoint.to_dict()
    assert Checkpoint(checkpoint.to_directory(tmp_path / "copy")).get_metadata() == {"a": 1, "b": 3}
    if kind == "complete":
        assert verify(tmp_path / "c") == ""
        assert read_manifest(tmp_path / "c").iteration == 4


@pytest.mark.parametrize("wrong", [3, ["a"], {"a": object()}])
def test_metadata_that_cannot_be_stored_changes_nothing(tmp_path, wrong):
    for checkpoint in (Checkpoint.from_dict({}), Checkpoint(write_tree(tmp_path, {}))):
        checkpoint.set_metadata({"a": 1})
        for change in (checkpoint.set_metadata, checkpoint.update_metadata):
            with pytest.raises(InvalidArgument, match="`metadata`"):
                change(wrong)
        assert checkpoint.get_metadata() == {"a": 1}


def test_damaged_metadata_is_named(tmp_path):
    write_tree(tmp_path, {".metadata.json": b"{"})

    with pytest.raises(CheckpointUnreadable, match=r"\.metadata\.json"):
        Checkpoint(tmp_path).get_metadata()


def test_a_damaged_dict_is_named(tmp_path):
    for content in (b"", b"garbage", pickle.dumps(3)):
        write_tree(tmp_path, {DICT_FILE: content})
        with pytest.raises(CheckpointUnreadable, match=DICT_FILE):
            Checkpoint(tmp_path).to_dict()


def test_paths_and_kinds(tmp_path):
    local, remote = Checkpoint(tmp_path), Checkpoint.from_uri("memory://x/y")
    data = Checkpoint.from_dict({"a": 1})

    assert os.fspath(local) == local.path == str(tmp_path)
    assert local.uri == f"file://{tmp_path}"
    assert (remote.path, remote.uri) == ("memory://x/y", "memory://x/y")
    assert data.uri is None
    for checkpoint, kind, value in [
        (local, "local_path", str(tmp_path)),
        (remote, "uri", "memory://x/y"),
        (data, "data_dict", {"a": 1}),
    ]:
        assert checkpoint.get_internal_representation() == (kind, value)
        assert kind in repr(checkpoint)
    assert local.filesystem.exists(local.path)
    assert not remote.filesystem.exists(remote.path)
    for wrong in (lambda: data.path, lambda: os.fspath(data), lambda: data.filesystem):
        with pytest.raises(TuneError, match=r"in memory|not a local"):
            wrong()
    with pytest.raises(TuneError, match="not a local directory"):
        os.fspath(remote)


def test_it_stands_for_its_path_where_scripts_take_it_for_one(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    assert f"{checkpoint}/model" == checkpoint + "/model" == f"{tmp_path}/model"
    assert checkpoint._local_path == str(tmp_path)
    remote = Checkpoint("s3://bucket/c")
    assert (str(remote), remote._local_path) == ("s3://bucket/c", None)
    held = Checkpoint.from_dict({"a": 1})
    assert (str(held), held._local_path) == (repr(held), None)
    with pytest.raises(TypeError):
        checkpoint + 1


def test_a_home_directory_and_file_urls_are_local(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Checkpoint("~/c").path == str(tmp_path / "c")
    assert Checkpoint(f"file://{tmp_path}/c").path == str(tmp_path / "c")
    assert Checkpoint(tmp_path / "c", fsspec.filesystem("file")).path == str(tmp_path / "c")
    assert Checkpoint("/b/c", fsspec.filesystem("memory")).uri.startswith("memory://")


def test_equality_is_that_of_the_content_held(tmp_path):
    a, b = write_tree(tmp_path / "a", {}), write_tree(tmp_path / "b", {})
    array = np.arange(3)

    assert Checkpoint(a) == Checkpoint(a) != Checkpoint(b)
    assert Checkpoint.from_dict({"a": 1}) == Checkpoint.from_dict({"a": 1})
    assert Checkpoint.from_dict({"a": 1}) != Checkpoint.from_dict({"a": 2})
    assert Checkpoint.from_dict({"a": array}) == Checkpoint.from_dict({"a": array.copy()})
    assert Checkpoint.from_dict({"a": array}) != Checkpoint.from_dict({"a": array + 1})
    assert Checkpoint.from_dict({}) != Checkpoint(a)
    assert Checkpoint(a) != str(a)
    assert len({Checkpoint(a), Checkpoint(a), Checkpoint.from_dict({"a": 1})}) == 2


def test_a_subclass_stays_one(tmp_path):
    class Mine(Checkpoint):
        pass

    mine = Mine.from_checkpoint(Checkpoint(tmp_path))

    assert type(mine) is Mine
    assert mine.path == str(tmp_path)
    assert type(Mine.from_dict({})) is type(Mine.from_bytes(Mine.from_dict({}).to_bytes())) is Mine


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: Checkpoint(3), "path"),
        (lambda: Checkpoint.from_directory(None), "path"),
        (lambda: Checkpoint.from_dict([1]), "data"),
        (lambda: Checkpoint.from_bytes(b"x"), "data"),
        (lambda: Checkpoint.from_bytes(pickle.dumps([1])), "data"),
        (lambda: Checkpoint.from_uri(3), "uri"),
        (lambda: Checkpoint.from_checkpoint("a"), "other"),
        (lambda: Checkpoint("/no/where").to_directory(), "checkpoint"),
        (lambda: Checkpoint("/no/where").to_dict(), "checkpoint"),
        (lambda: Checkpoint("/no/where").set_metadata({}), "checkpoint"),
    ],
)
def test_bad_input_names_the_argument(call, argument):
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        call()


@pytest.mark.parametrize("call", [lambda: Checkpoint.from_dict({}).to_object_ref()])
def test_object_references_say_what_to_do_instead(call):
    with pytest.raises(TuneError, match="to_dict"):
        call()
    with pytest.raises(TuneError, match="to_dict"):
        Checkpoint.from_object_ref(object())


@pytest.mark.parametrize("content", [b"", b"mine"])
def test_a_file_of_anothers_called_as_the_manifest_is_no_manifest(tmp_path, content):
    # Ray Tune marks its checkpoints with an empty file of this name.
    source = write_tree(tmp_path / "a", {MARKER: content, "model": b"12"})

    Checkpoint(source).to_uri(f"memory://marked{len(content)}/c")
    fetched = Checkpoint.from_uri(f"memory://marked{len(content)}/c").to_directory(tmp_path / "b")
    assert verify(fetched) == ""
    assert (tmp_path / "b" / "model").read_bytes() == b"12"
    store = fsspec.filesystem("memory")
    store.pipe("/elsewhere/c/model", b"12")
    store.pipe(f"/elsewhere/c/{MARKER}", content)
    elsewhere = Checkpoint.from_uri("memory://elsewhere/c")
    assert elsewhere.get_metadata() == {}
    assert Path(elsewhere.to_directory(tmp_path / "c"), "model").read_bytes() == b"12"
    checkpoint = Checkpoint(write_tree(tmp_path / "d", {MARKER: content}))
    checkpoint.set_metadata({"a": 1})
    assert checkpoint.get_metadata() == {"a": 1}
    for place in (str(tmp_path / "d"), "memory://elsewhere/c"):
        assert parse_restore(place) is not None
