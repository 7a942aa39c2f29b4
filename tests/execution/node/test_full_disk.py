"""Nodes whose disk is full: a clear error, and nothing that was good is harmed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.checkpoint.manifest import verify, write_manifest
from prefect_tune.coordinator.events import CheckpointSaved, Outcome
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.filesystem.location import Location
from tests.execution.experiments import Experiment, make_env

SIZE = 4 << 20


@pytest.fixture(scope="module", autouse=True)
def cluster():
    tune.init(num_cpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of its own, of 4 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of 4 MB needs the right to mount one: {done.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def experiment(small_disk):
    def experiment(trainable, **options):
        return Experiment(DaskExecutor(connect()), make_env(trainable, small_disk, **options))

    return experiment


def train(config):
    for step, size in enumerate(config["sizes"], 1):
        with tune.checkpoint_dir(step=step) as directory:
            Path(directory, "weights").write_bytes(os.urandom(size))
        tune.report(step=step)


def test_a_checkpoint_that_does_not_fit_fails_its_trial_and_no_other(experiment, small_disk):
    with experiment(train) as run:
        _, end = run.run("a", {"sizes": [1 << 20, SIZE]})
        assert end.outcome is Outcome.FAILED
        assert "No space left on device" in end.error.message
        assert f"the disk of {small_disk / 'trial_a'}" in end.error.message
        assert [e.path for e in run.seen if isinstance(e, CheckpointSaved)] == [
            "trial_a/checkpoint_000001"
        ]
        assert not verify(small_disk / "trial_a" / "checkpoint_000001")
        # What was written of the other one does not take the others' place.
        _, end = run.run("b", {"sizes": [2 << 20]})
        assert end.outcome is Outcome.FINISHED


def test_what_a_killed_trial_had_half_written_is_removed(experiment, small_disk):
    def stuck(config):
        with tune.checkpoint_dir(step=1) as directory:
            Path(directory, "weights").write_bytes(os.urandom(3 << 20))
            os.kill(os.getpid(), signal.SIGKILL)

    with experiment(stuck) as run:
        _, end = run.run("a")
        assert end.outcome is Outcome.FAILED
        assert list((small_disk / "trial_a").iterdir()) == []


def test_a_checkpoint_that_cannot_be_brought_is_nobodys_fault(experiment, small_disk, tmp_path):
    stored = tmp_path / "storage" / "trial_a" / "checkpoint_000001"
    stored.mkdir(parents=True)
    (stored / "weights").write_bytes(bytes(2 * SIZE))
    write_manifest(stored, Progress(1))
    with experiment(train, storage=Location(str(tmp_path / "storage"))) as run:
        _, end = run.run("a", {"sizes": []}, checkpoint="trial_a/checkpoint_000001")
        assert (end.outcome, end.error.kind) == (Outcome.LOST, "storage")
        assert "no space left" in end.error.message.lower()
        assert str(small_disk) in end.error.message
        assert run.run("b", {"sizes": [1 << 20]})[1].outcome is Outcome.FINISHED
        # Nor does a part of it stay.
        assert not list(small_disk.rglob("weights*"))[1:]
    assert not verify(stored)
