"""Where the trials of an experiment work on a node."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from prefect_tune.execution.files.node_directory import NodeDirectory, in_storage
from prefect_tune.filesystem.location import Location
from tests.execution.experiments import make_env


def train(config):
    pass


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary directory of this process."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_the_experiment_directory_if_it_is_the_same_one(tmp_path, temporary):
    env = make_env(train, tmp_path)
    directory = NodeDirectory(env)
    assert (directory.path, directory.shared) == (tmp_path, True)
    directory.remove()
    assert tmp_path.is_dir()


def test_else_one_for_each_agent_which_it_removes(tmp_path, temporary):
    env = make_env(train, "/not/here")
    one, two = NodeDirectory(env), NodeDirectory(env)
    assert not one.shared
    assert one.path != two.path
    assert one.path.stat().st_mode & 0o777 == 0o700
    (one.path / "trial" / "checkpoint").mkdir(parents=True)
    one.remove()
    one.remove()
    assert not one.path.exists()
    assert two.path.exists()
    two.remove()
    assert list(two.path.parent.iterdir()) == []


_AGENT = """
import pickle, sys, signal, tempfile
from prefect_tune.execution.files.node_directory import NodeDirectory
tempfile.tempdir = sys.argv[1]
directory = NodeDirectory(pickle.load(sys.stdin.buffer))
(directory.path / "left over").touch()
print(directory.path, flush=True)
signal.pause()
"""


def test_what_a_killed_agent_left_is_removed_by_the_next(temporary):
    env = make_env(_nothing, "/not/here")
    process = subprocess.Popen(
        [sys.executable, "-c", _AGENT, str(temporary)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(pickle.dumps(env))
    process.stdin.close()
    left = Path(process.stdout.readline().decode().strip())
    living = NodeDirectory(make_env(train, "/not/here"))
    assert left.is_dir()  # its agent lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    next_one = NodeDirectory(make_env(train, "/not/here"))
    assert not left.exists()
    for directory in (living, next_one):
        assert directory.path.is_dir()
        directory.remove()


def _nothing(config):
    pass


@pytest.mark.parametrize(
    ("storage", "path", "shown"),
    [
        (None, "trial_a/checkpoint_000001", "/results/exp/trial_a/checkpoint_000001"),
        (Location("s3://b/exp"), "trial_a", "s3://b/exp/trial_a"),
        (Location("s3://b/exp"), "/data/model", "/data/model"),
        (None, "s3://b/model", "s3://b/model"),
    ],
)
def test_paths_as_users_see_them(storage, path, shown):
    assert in_storage(make_env(train, "/results/exp", storage=storage), path) == shown


def test_nothing_is_made_if_there_is_no_room_for_it(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(OSError, match="/proc/nowhere"):
        NodeDirectory(make_env(train, "/not/here"))
    assert os.listdir(temporary) == []


def test_the_directory_of_another_user_is_not_trusted(temporary, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 4321)
    with pytest.raises(PermissionError, match="belongs to another user"):
        NodeDirectory(make_env(train, "/not/here"))
