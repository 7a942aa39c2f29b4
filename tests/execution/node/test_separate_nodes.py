"""Clusters whose nodes share no file system with the driver: everything comes through Dask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from distributed import LocalCluster

import prefect_tune as tune
from prefect_tune.checkpoint.manifest import verify
from prefect_tune.coordinator.events import (
    CapacityChanged,
    CheckpointFailed,
    CheckpointSaved,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.driver.trial_files import TrialFileCollector
from prefect_tune.execution.files import confined_directory
from prefect_tune.execution.files.node_directory import SHARED_DIRECTORY
from tests.execution.dask_workers import dask_worker
from tests.execution.experiments import Experiment, make_env
from tests.execution.loopback import content, make_checkpoint

SIZE = 3 * confined_directory.CHUNK_BYTES + 17


@contextlib.contextmanager
def start_node(scheduler, directory):
    directory.mkdir()
    options = {SHARED_DIRECTORY: "0", "TMPDIR": str(directory)}
    with dask_worker(scheduler, "--local-directory", str(directory), **options) as process:
        yield process


@pytest.fixture(scope="module")
def scheduler():
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def nodes(scheduler, tmp_path):
    """Two nodes: their processes."""
    with (
        start_node(scheduler, tmp_path / "node1") as one,
        start_node(scheduler, tmp_path / "node2") as two,
    ):
        handle = connect(scheduler)
        handle.client.wait_for_workers(2, 60)
        handle.release()
        yield {process.pid: process for process in (one, two)}


@pytest.fixture
def experiment(scheduler, nodes, tmp_path):
    def experiment(trainable, **options):
        directory = tmp_path / "driver"
        directory.mkdir(exist_ok=True)
        return Experiment(
            DaskExecutor(connect(scheduler)), make_env(trainable, directory, **options)
        )

    return experiment


def train(config):
    """Writes a checkpoint at every iteration, and goes on from the one that it is given."""
    start, pid = 0, os.getppid()
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            start = int(Path(directory, "step").read_text())
            assert Path(directory, "weights").read_bytes() == weights(start)
    print(f"from {start}")
    for step in range(start + 1, config["until"] + 1):
        with tune.checkpoint_dir(step=step) as directory:
            Path(directory, "step").write_text(str(step))
            Path(directory, "weights").write_bytes(weights(step))
        tune.report(step=step, start=start, pid=pid, dir=tune.get_trial_dir())
    while config.get("hang"):
        time.sleep(60)


def weights(step):
    return bytes([step]) * SIZE


def driver_dir(run):
    return Path(run.env.experiment_dir)


def checkpoint_names(directory):
    return sorted(path.name for path in directory.iterdir() if "checkpoint" in path.name)


def saved(run, trial_id, count):
    while True:
        paths = [e.path for e in run.seen if isinstance(e, CheckpointSaved)]
        paths = [path for path in paths if path.startswith(f"trial_{trial_id}/")]
        if len(paths) == count:
            return paths
        run.next_event()


def agent_pid(run, node):
    return run.executor._client.run(os.getpid, workers=[node])[node]


def test_a_trial_goes_on_elsewhere_after_its_node_was_killed(experiment, nodes):
    with experiment(train) as run:
        first, second = (node.address for node in run.executor.capacity())
        run.launch("a", {"until": 2, "hang": True}, node=first)
        paths = saved(run, "a", 2)
        trial = driver_dir(run) / "trial_a"
        assert checkpoint_names(trial) == [Path(path).name for path in paths]
        before = content(driver_dir(run) / paths[-1])
        assert before["weights"] == weights(2)

        nodes[agent_pid(run, first)].send_signal(signal.SIGKILL)
        assert run.until_ended("a").outcome is Outcome.LOST
        run.launch("a", {"until": 3}, node=second, attempt=2, checkpoint=paths[-1])
        assert run.until_ended("a").outcome is Outcome.FINISHED
        newest = saved(run, "a", 3)[-1]
        (*_, last) = run.results("a")
        assert (last["start"], last["step"]) == (2, 3)
        # The node has a directory of its own.
        assert not last["dir"].startswith(str(driver_dir(run)))
        assert not verify(driver_dir(run) / newest)
        assert content(driver_dir(run) / paths[-1]) == before


def test_a_checkpoint_follows_its_result_and_its_trial_waits_for_room(experiment):
    with experiment(train) as run:
        _, end = run.run("a", {"until": 5})
        saved(run, "a", 5)
        seen = [
            (type(event), result["step"])
            for event in run.seen
            if isinstance(event, ResultReported | CheckpointSaved)
            for result in getattr(event, "results", None) or [event.metrics]
        ]
        for step in range(1, 6):
            assert seen.index((ResultReported, step)) < seen.index((CheckpointSaved, step))
        assert end.outcome is Outcome.FINISHED
        assert end.uploading <= run.env.checkpoint_rules.max_pending
        # What is saved is not kept on the node, apart from the newest while the trial runs.
        own = Path(run.results("a")[-1]["dir"])
        deadline = time.monotonic() + 30
        while any(map(Path.is_dir, own.glob("checkpoint_*"))):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_three_trials_at_once(experiment):
    with experiment(train) as run:
        nodes = [node.address for node in run.executor.capacity()]
        for number, trial in enumerate("abc"):
            run.launch(trial, {"until": 3}, node=nodes[number % 2])
        for trial in "abc":
            for step, path in enumerate(saved(run, trial, 3), 1):
                assert content(driver_dir(run) / path)["weights"] == weights(step)
            assert checkpoint_names(driver_dir(run) / f"trial_{trial}") == [
                f"checkpoint_{step:06d}" for step in (1, 2, 3)
            ]


def test_a_node_that_dies_in_the_middle_leaves_nothing_half(experiment, nodes, monkeypatch):
    # Hold the transfer up when a part of it has arrived.
    arrived, go_on = threading.Event(), threading.Event()
    put = confined_directory.ConfinedDirectory.put

    def slow_put(self, path, offset, data):
        put(self, path, offset, data)
        if ".tmp-arriving-" in path:
            arrived.set()
            go_on.wait(60)

    monkeypatch.setattr(confined_directory.ConfinedDirectory, "put", slow_put)
    with experiment(train) as run:
        first = run.node
        run.launch("a", {"until": 1}, node=first)
        assert arrived.wait(60)
        end = run.until_ended("a")  # its slot is free while the checkpoint is on its way
        assert (end.outcome, end.uploading) == (Outcome.FINISHED, 1)
        trial = driver_dir(run) / "trial_a"
        assert [name.startswith(".checkpoint_000001") for name in checkpoint_names(trial)] == [True]
        nodes[agent_pid(run, first)].send_signal(signal.SIGKILL)
        failed = run.until(CheckpointFailed, "a")
        assert failed.path == "trial_a/checkpoint_000001"
        assert first in failed.reason
        go_on.set()
    assert checkpoint_names(trial) == []


def test_what_trials_write_comes_to_the_driver(experiment):
    def talk(config):
        print("hello")
        print("oh", file=sys.stderr)
        Path("plots").mkdir()
        Path("plots", "loss.png").write_bytes(b"\x89PNG")
        Path("result.json").write_text("not the driver's")
        tune.report(dir=tune.get_trial_dir())
        while config["hang"] and not Path(config["hang"]).exists():
            time.sleep(0.02)
        print("bye")

    with experiment(talk, sync_period_s=0.1) as run:
        trial = driver_dir(run) / "trial_a"
        trial.mkdir()
        (trial / "result.json").write_text("the driver's")
        stop = driver_dir(run) / "stop"
        run.launch("a", {"hang": str(stop)})
        run.until_reported("a")
        deadline = time.monotonic() + 60
        while not (trial / "plots" / "loss.png").exists():  # while it runs
            assert time.monotonic() < deadline
            time.sleep(0.02)
        stop.touch()
        run.until_ended("a")
        own = Path(run.results("a")[0]["dir"])
    # All of it is here when the experiment is closed, and the node has nothing any more.
    assert (trial / "stdout").read_text() == "hello\nbye\n"
    assert (trial / "stderr").read_text() == "oh\n"
    assert (trial / "plots" / "loss.png").read_bytes() == b"\x89PNG"
    assert (trial / "result.json").read_text() == "the driver's"
    assert not own.exists()


def test_without_sync_a_checkpoint_says_why_it_cannot_be(experiment):
    with experiment(train, sync_to_driver=False) as run:
        _, end = run.run("a", {"until": 1})
        assert end.outcome is Outcome.FINISHED
        (failed,) = [event for event in run.seen if isinstance(event, CheckpointFailed)]
        assert "does not see" in failed.reason
        assert "sync_to_driver=False" in failed.reason
    assert not (driver_dir(run) / "trial_a").exists()


def test_an_attempt_goes_on_from_a_directory_of_the_driver(experiment, tmp_path):
    elsewhere = make_checkpoint(
        tmp_path / "elsewhere", {"step": b"7", "weights": weights(7), "sub/x": b""}
    )
    with experiment(train) as run:
        # The node must not find it by itself, as it would on one machine.
        hidden = elsewhere.rename(tmp_path / "hidden")
        damaged = str(tmp_path / "nothing")
        results, end = run.run("a", {"until": 8}, checkpoint=str(elsewhere))
        assert (end.outcome, end.error.kind) == (Outcome.FAILED, "restore")
        hidden.rename(elsewhere)
        results, end = run.run("b", {"until": 8}, checkpoint=str(elsewhere))
        assert end.outcome is Outcome.FINISHED
        assert results[0]["start"] == 7
        _, end = run.run("c", {"until": 8}, checkpoint=damaged)
        assert end.error.kind == "restore"


def test_a_damaged_checkpoint_on_the_driver_is_told(experiment):
    with experiment(train) as run:
        first, second = (node.address for node in run.executor.capacity())
        run.run("a", {"until": 1}, node=first)
        (path,) = saved(run, "a", 1)
        (driver_dir(run) / path / "weights").write_bytes(b"short")
        _, end = run.run("b", {"until": 2}, node=second, checkpoint=path)
        assert (end.outcome, end.error.kind) == (Outcome.FAILED, "restore")
        assert "weights has fewer bytes" in end.error.message


def test_a_node_that_joins_later(experiment, scheduler, tmp_path):
    with experiment(train) as run:
        first = {node.address for node in run.executor.capacity()}
        with start_node(scheduler, tmp_path / "node3"):
            while len(run.executor.capacity()) < 3:
                assert isinstance(run.next_event(), CapacityChanged)
            (joined,) = {node.address for node in run.executor.capacity()} - first
            run.launch("a", {"until": 1}, node=joined)
            (path,) = saved(run, "a", 1)
            assert content(driver_dir(run) / path)["weights"] == weights(1)


def test_nobody_waits_for_the_files_of_a_node_that_ends_at_the_end(
    experiment, nodes, monkeypatch, caplog
):
    close = TrialFileCollector.close

    async def lose_the_node(files, patience):
        closing = asyncio.ensure_future(close(files, patience))
        await asyncio.sleep(0)  # now it waits for the node
        nodes[pid].send_signal(signal.SIGKILL)
        await closing

    monkeypatch.setattr(TrialFileCollector, "close", lose_the_node)
    with experiment(train) as run:
        first, _ = (node.address for node in run.executor.capacity())
        pid = agent_pid(run, first)
        run.launch("a", {"until": 1, "hang": True}, node=first)
        saved(run, "a", 1)
        nodes[pid].send_signal(signal.SIGSTOP)
    assert "not fetched from their nodes" not in caplog.text
