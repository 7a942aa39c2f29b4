"""The experiment directory: created, marked, locked."""

import errno
import os
from pathlib import Path

import pytest

from prefect_tune.error import ExperimentLocked, InvalidArgument
from prefect_tune.storage.experiment_dir import MARKER_FILE, ExperimentDir


def test_two_sweeps_with_one_name_do_not_mix(tmp_path):
    first = ExperimentDir(tmp_path, "sweep", "id1")
    with pytest.raises(ExperimentLocked, match=f"process {os.getpid()}"):
        ExperimentDir(tmp_path, "sweep", "id2")
    assert (tmp_path / "sweep" / MARKER_FILE).read_text() == "id1"
    first.close()
    ExperimentDir(tmp_path, "sweep", "id2").close()


def test_a_made_up_name_gives_way_to_what_is_there(tmp_path):
    names = []
    for _ in range(3):
        directory = ExperimentDir(tmp_path / "new", "sweep", "id", fresh=True)
        names.append(directory.name)
        assert directory.path == tmp_path / "new" / directory.name
        directory.close()
    assert names == ["sweep", "sweep_2", "sweep_3"]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = ExperimentDir("~/results", "sweep", "id")
    assert directory.path == tmp_path / "results" / "sweep"
    directory.close()


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match=r"storage_path.*cannot write"):
        ExperimentDir(tmp_path / "file", "sweep", "id")


def test_one_that_could_not_be_marked_is_not_locked(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(InvalidArgument, match="No space left"):
            ExperimentDir(tmp_path, "sweep", "id1")
    ExperimentDir(tmp_path, "sweep", "id2").close()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_symbolic_link_that_leads_nowhere_is_refused(tmp_path, fresh):
    (tmp_path / "results").symlink_to("/not/mounted")
    with pytest.raises(InvalidArgument, match=r"results is a symbolic link to /not/mounted"):
        ExperimentDir(tmp_path / "results", "e", "id", fresh=fresh)


def test_a_link_in_place_of_a_made_up_name_makes_it_give_way(tmp_path):
    (tmp_path / "e").symlink_to("/not/mounted")
    directory = ExperimentDir(tmp_path, "e", "id", fresh=True)
    assert directory.name == "e_2"
    directory.close()
