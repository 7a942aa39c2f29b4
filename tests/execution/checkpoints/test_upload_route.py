"""Checkpoints on their way to remote storage and back, on a real in-process Dask cluster."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.checkpoint.manifest import MARKER, verify, write_manifest
from prefect_tune.coordinator.events import (
    AttemptStarted,
    CheckpointFailed,
    CheckpointSaved,
    Outcome,
)
from prefect_tune.execution.checkpoints import transfer_client as service
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.node.entry import agent_of
from prefect_tune.experiment.checkpoints import CheckpointRules, Progress
from prefect_tune.filesystem.location import Location
from prefect_tune.resources import Resources
from tests.execution.experiments import Experiment, make_env


@pytest.fixture(scope="module", autouse=True)
def cluster():
    tune.init(num_cpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def experiment(tmp_path):
    def experiment(trainable, storage, **options):
        directory = tmp_path / "local"
        directory.mkdir(exist_ok=True)
        env = make_env(trainable, directory, storage=storage, **options)
        return Experiment(DaskExecutor(connect()), env)

    return experiment


@pytest.fixture
def storage(tmp_path):
    """A location whose files a test can look at."""
    return Location(f"file://{tmp_path}/storage/exp")


@pytest.fixture
def shaky(fault_bucket):
    """A location that can go away."""
    return Location(f"{fault_bucket.url}/exp", fault_bucket.options)


def train(config):
    """Writes a checkpoint at every iteration, and goes on from the one that it is given."""
    checkpoint = tune.get_checkpoint()
    start = 0 if checkpoint is None else checkpoint.to_dict()["step"]
    for step in range(start + 1, config["until"] + 1):
        checkpoint = tune.Checkpoint.from_dict({"step": step})
        tune.report({"step": step, "start": start}, checkpoint=checkpoint)
    while config.get("hang"):
        time.sleep(60)


def saved(run, count=1):
    """Wait for so many saved checkpoints; returns their paths."""
    while len(events := [e for e in run.seen if isinstance(e, CheckpointSaved)]) < count:
        run.next_event()
    return [event.path for event in events]


def is_stored(bucket, path):
    return f"exp/{path}/{MARKER}" in bucket.keys(f"exp/{path}")


def agent(run):
    (worker,) = run.executor._client.cluster.workers.values()
    return agent_of(worker)._experiments[run.env.experiment_id]


def transfers(run):
    return agent(run).checkpoints.transfers


def make_checkpoint(directory, step):
    tune.Checkpoint.from_dict({"step": step}).to_directory(directory)
    write_manifest(directory, Progress(step))
    return directory


def local(run, path=""):
    return Path(run.env.experiment_dir, path)


def checkpoints_below(directory):
    return sorted(path.name for path in directory.glob("checkpoint_*"))


# -- there --------------------------------------------------------------------------------------


def test_checkpoints_arrive_whole_and_two_copies_stay_while_the_trial_does(
    experiment, storage, tmp_path
):
    with experiment(train, storage, stop_grace_s=0.1) as run:
        run.launch("a", {"until": 5, "hang": True})
        paths = saved(run, 5)
        assert paths == [f"trial_a/checkpoint_{step:06d}" for step in range(1, 6)]
        for path in paths:
            assert not verify(tmp_path / "storage" / "exp" / path)
        _settled(run)
        assert checkpoints_below(local(run, "trial_a")) == [Path(path).name for path in paths[-2:]]
        run.kill("a")
        run.until_ended("a")
    assert checkpoints_below(local(run, "trial_a")) == []
    assert len(checkpoints_below(tmp_path / "storage" / "exp" / "trial_a")) == 5


def _settled(run):
    run.executor._client.sync(agent(run).checkpoints.route._copies.close)


def test_the_slot_is_free_while_uploads_go_on(experiment, shaky, fault_proxy, fault_bucket):
    fault_proxy.go_away()
    whole = Resources.of(CPU=2)
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1}, whole)
        end = run.until_ended("a")
        assert (end.outcome, end.uploading) == (Outcome.FINISHED, 1)
        run.launch("b", {"until": 0}, whole)
        assert run.until_ended("b").outcome is Outcome.FINISHED
        assert not any(isinstance(event, CheckpointSaved) for event in run.seen)
        fault_proxy.come_back()
        assert saved(run) == ["trial_a/checkpoint_000001"]
    assert is_stored(fault_bucket, "trial_a/checkpoint_000001")


def test_a_trial_waits_when_too_many_are_under_way(experiment, shaky, fault_proxy):
    fault_proxy.go_away()
    with experiment(train, shaky, checkpoint_rules=CheckpointRules(max_pending=2)) as run:
        run.launch("a", {"until": 6})
        while len(run.results("a")) < 2:
            run.next_event()
        fault_proxy.come_back()
        run.until(CheckpointSaved, "a")
        # The third report waited for the first checkpoint, and that for storage.
        assert len(run.results("a")) <= 3
        assert run.until_ended("a").outcome is Outcome.FINISHED
        assert len(saved(run, 6)) == 6


def test_an_upload_is_given_up_after_its_time_and_training_goes_on(experiment, shaky, fault_proxy):
    fault_proxy.go_away()
    with experiment(train, shaky, storage_timeout_s=0.5) as run:
        run.launch("a", {"until": 3})
        failed = run.until(CheckpointFailed, "a")
        assert failed.path == "trial_a/checkpoint_000001"
        assert f"s3://{shaky.url.split('/')[2]}" in failed.reason
        end = run.until_ended("a")
        assert end.outcome is Outcome.FINISHED
        while sum(isinstance(event, CheckpointFailed) for event in run.seen) < 3:
            run.next_event()
        # It is all there is of them.
        names = checkpoints_below(local(run, "trial_a"))
        assert names[-1] == "checkpoint_000003"
        assert not verify(local(run, f"trial_a/{names[-1]}"))


def test_what_queued_up_while_storage_was_away_is_not_given_up_one_after_the_other(
    experiment, shaky, fault_proxy, monkeypatch
):
    monkeypatch.setattr(service, "_MAX_PARALLEL", 1)
    monkeypatch.setattr(service, "_LEAST_OUTAGE_S", 0.0)
    asked = []
    request = service._Process.request

    def noting(self, message, transfer):
        asked.append(transfer.outage_s)
        return request(self, message, transfer)

    monkeypatch.setattr(service._Process, "request", noting)
    fault_proxy.go_away()
    with experiment(train, shaky, storage_timeout_s=2.0) as run:
        for trial_id in "abc":
            run.launch(trial_id, {"until": 1})
        while sum(isinstance(event, CheckpointFailed) for event in run.seen) < 3:
            run.next_event()
    assert asked[0] > 1.5
    assert asked[2] < 1.5


def test_an_outage_is_told_where_the_sweep_is_watched(
    experiment, shaky, fault_proxy, monkeypatch, caplog
):
    at_once = "from prefect_tune.filesystem import retry; retry._WARN_AFTER_S = 0; "
    monkeypatch.setattr(service, "_MAIN", at_once + service._MAIN)
    fault_proxy.go_away()
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 2})
        while "Checkpoints do not get to storage" not in caplog.text:
            time.sleep(0.05)
        fault_proxy.come_back()
        saved(run, 2)
        while "Checkpoints get to storage again" not in caplog.text:
            time.sleep(0.05)
    assert caplog.text.count("Checkpoints do not get to storage") == 1


def test_a_read_only_bucket_is_told(experiment, shaky, fault_proxy):
    fault_proxy.refuse_writes()
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        assert "access is denied" in run.until(CheckpointFailed, "a").reason


def test_a_checkpoint_that_is_damaged_before_it_is_stored_is_not(experiment, storage, tmp_path):
    with experiment(train, storage) as run:
        damaged = local(run, "trial_a/checkpoint_000001")
        route = agent(run).checkpoints.route
        make_checkpoint(damaged, 1)
        (damaged / "dict_checkpoint.pkl").write_text("12345")

        async def upload():
            return await route.upload("trial_a/checkpoint_000001", damaged)

        assert "dict_checkpoint.pkl has 5 bytes" in run.executor._client.sync(upload)
        assert not (
            tmp_path / "storage" / "exp" / "trial_a" / "checkpoint_000001" / MARKER
        ).exists()


# -- the process that does it -------------------------------------------------------------------


def test_a_killed_transfer_process_is_replaced_and_nothing_is_lost(experiment, shaky, fault_proxy):
    fault_proxy.go_away()
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        run.until_ended("a")
        killed = transfers(run).pid
        os.kill(killed, signal.SIGKILL)
        fault_proxy.come_back()
        assert saved(run) == ["trial_a/checkpoint_000001"]
        assert transfers(run).pid != killed


def test_one_that_dies_again_and_again_gives_up(experiment, shaky, fault_proxy, monkeypatch):
    monkeypatch.setattr(service, "_MAIN", "sys.exit(3)")
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        assert "died 3 times" in run.until(CheckpointFailed, "a").reason


def test_one_that_hangs_is_replaced(experiment, storage, monkeypatch, ends):
    with experiment(train, storage, storage_timeout_s=0.5) as run:
        run.launch("a", {"until": 1})
        saved(run)
        hanging = transfers(run).pid
        os.kill(hanging, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(service, "_SLACK_S", 0.1)
            run.launch("b", {"until": 1})
            assert "nothing has happened" in run.until(CheckpointFailed, "b").reason
        assert ends(hanging)
        run.launch("c", {"until": 1})
        assert saved(run, 2)[-1].startswith("trial_c/")


def test_it_ends_with_the_experiment(experiment, storage, ends):
    with experiment(train, storage) as run:
        assert transfers(run).pid is None  # nobody needed it yet
        run.launch("a", {"until": 1})
        saved(run)
        pid = transfers(run).pid
    assert ends(pid)


def test_secrets_are_not_to_be_seen(experiment, shaky, fault_bucket):
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        saved(run)
        pid = transfers(run).pid
        for file in ("cmdline", "environ"):
            seen = Path(f"/proc/{pid}/{file}").read_bytes()
            assert fault_bucket.options["secret"].encode() not in seen
            assert fault_bucket.name.encode() not in seen


def test_trials_know_nothing_of_the_file_systems_libraries(experiment, shaky):
    def look(config):
        tune.report({"step": 1}, checkpoint=tune.Checkpoint.from_dict({"step": 1}))
        return {"loaded": [name for name in ("s3fs", "aiobotocore") if name in sys.modules]}

    with experiment(look, shaky) as run:
        results, _ = run.run("a")
        saved(run)
    assert results[-1]["loaded"] == []


# -- and back -----------------------------------------------------------------------------------


def go_on(run, checkpoint, until, trial_id="b"):
    """Run a trial from a checkpoint; returns where it started."""
    results, end = run.run(trial_id, {"until": until}, checkpoint=checkpoint)
    assert end.outcome is Outcome.FINISHED
    return results[0]["start"]


def test_an_attempt_goes_on_from_storage(experiment, storage, ends):
    with experiment(train, storage) as run:
        run.launch("a", {"until": 3})
        run.until_ended("a")
        paths = saved(run, 3)
        _settled(run)
        assert checkpoints_below(local(run, "trial_a")) == []
        assert go_on(run, paths[1], 3) == 2
        assert go_on(run, paths[2], 4, "c") == 3
        # Copies of another trial's checkpoints are not in its directory.
        assert checkpoints_below(local(run, "trial_a")) == []
    assert not local(run, ".fetched").exists()


def test_many_that_want_the_same_one_bring_it_once(experiment, shaky, fault_proxy):
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        run.until_ended("a")
        (path,) = saved(run)
        _settled(run)

        async def fetch_all():
            fetch = agent(run).checkpoints.fetch
            return await asyncio.gather(*(fetch(path) for _ in range(5)))

        before = len(fault_proxy.seen)
        directories = run.executor._client.sync(fetch_all)
        assert len(set(directories)) == 1
        seen = [request for request in fault_proxy.seen[before:] if request.method == "GET"]
        assert sum("dict_checkpoint.pkl" in request.target for request in seen) == 1


def test_a_copy_on_the_node_needs_no_storage(experiment, shaky, fault_proxy):
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 2, "hang": True})
        paths = saved(run, 2)
        fault_proxy.go_away()
        run.launch("b", {"until": 3, "hang": True}, checkpoint=paths[1])
        assert run.until_reported("b").results[0]["start"] == 2
        fault_proxy.come_back()


def test_a_damaged_copy_on_the_node_is_replaced_from_storage(experiment, storage):
    with experiment(train, storage) as run:
        run.launch("a", {"until": 2, "hang": True})
        paths = saved(run, 2)
        for file in local(run, paths[1]).iterdir():
            file.write_bytes(b"")
        assert go_on(run, paths[1], 3) == 2


def test_a_copy_of_an_earlier_run_is_used_but_not_relied_on(experiment, shaky, fault_proxy):
    with experiment(train, shaky) as run:
        make_checkpoint(local(run, "trial_a/checkpoint_000007"), 7)
        fault_proxy.go_away()
        fetched = _fetch(run, "trial_a/checkpoint_000007")
        assert not verify(fetched)
        shutil.rmtree(local(run, "trial_a/checkpoint_000007"))
        assert not verify(fetched)


def _fetch(run, path):
    return run.executor._client.sync(agent(run).checkpoints.fetch, path)


def test_unreadable_in_storage_means_that_checkpoint(experiment, storage, tmp_path):
    with experiment(train, storage) as run:
        run.launch("a", {"until": 1})
        run.until_ended("a")
        (path,) = saved(run)
        stored = tmp_path / "storage" / "exp" / path
        for file in stored.iterdir():
            if file.name != MARKER:
                file.write_bytes(b"")
        _, end = run.run("b", {"until": 1}, checkpoint=path)
        assert (end.outcome, end.error.kind) == (Outcome.FAILED, "restore")
        assert str(stored) in end.error.message
        _, end = run.run("c", {"until": 1}, checkpoint="trial_x/checkpoint_000001")
        assert (end.outcome, end.error.kind) == (Outcome.FAILED, "restore")


def test_storage_that_is_away_is_nobodys_fault(experiment, shaky, fault_proxy):
    fault_proxy.go_away()
    with experiment(train, shaky, storage_timeout_s=0.5) as run:
        _, end = run.run("a", {"until": 1}, checkpoint="trial_x/checkpoint_000001")
        assert (end.outcome, end.error.kind) == (Outcome.LOST, "storage")
        assert "trial_x/checkpoint_000001" in end.error.message
        assert AttemptStarted not in {type(event) for event in run.seen}


def test_a_kill_ends_the_wait_for_a_checkpoint_which_disturbs_nobody(
    experiment, shaky, fault_proxy
):
    fault_proxy.go_away()
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1}, checkpoint="trial_x/checkpoint_000001")
        run.launch("b", {"until": 0})
        assert run.until_ended("b").outcome is Outcome.FINISHED
        run.kill("a")
        assert run.until_ended("a").outcome is Outcome.UNSTARTED


def test_a_checkpoint_of_somewhere_else_by_its_url(experiment, shaky, fault_bucket, tmp_path):
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 2})
        path = saved(run, 2)[-1]
    elsewhere = Location(f"{fault_bucket.url}/other", fault_bucket.options)
    with experiment(train, elsewhere) as run:
        assert go_on(run, f"{shaky}/{path}", 3) == 2
        local_copy = make_checkpoint(tmp_path / "somewhere" / "checkpoint_000005", 5)
        assert go_on(run, f"file://{local_copy}", 6, "c") == 5
        assert go_on(run, str(local_copy), 6, "d") == 5


# -- ends ---------------------------------------------------------------------------------------


def test_close_lets_uploads_end(experiment, shaky, fault_proxy, fault_bucket):
    fault_proxy.go_away()
    with experiment(train, shaky) as run:
        run.launch("a", {"until": 1})
        run.until_ended("a")
        fault_proxy.come_back()
    assert is_stored(fault_bucket, "trial_a/checkpoint_000001")


def test_uploads_end_when_the_driver_is_gone(experiment, shaky, fault_proxy, fault_bucket, ends):
    fault_proxy.go_away()
    with experiment(train, shaky, lease_s=5) as run:
        run.launch("a", {"until": 1, "hang": True})
        pid = run.until_started("a").pid
        run.until_reported("a")
        node = agent(run)
        (link,) = run.executor._pool._links.values()
        run.executor._client.loop.add_callback(link.abandon)  # as if the driver were gone
        assert ends(pid)
        fault_proxy.come_back()
        run.executor._client.sync(node.wait_closed)
        assert is_stored(fault_bucket, "trial_a/checkpoint_000001")
