"""Clusters that lose workers, or everything, under a sweep with checkpoints."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from distributed import Client, LocalCluster

import prefect_tune as tune
from prefect_tune.error import ClusterError
from prefect_tune.execution.cluster import connections as connection
from tests.execution.dask_workers import dask_scheduler, dask_worker

STEPS = 4


def train(config):
    """Counts to `STEPS` with a checkpoint at each; the first attempt waits at 2 for its end."""
    checkpoint = tune.get_checkpoint()
    start = 0 if checkpoint is None else checkpoint.to_dict()["step"]
    zygote = psutil.Process().parent()
    for step in range(start + 1, STEPS + 1):
        tune.report(
            {"step": step, "start": start, "zygote": zygote.pid, "worker": zygote.ppid()},
            checkpoint=tune.Checkpoint.from_dict({"step": step}),
        )
        if step == 2 and start == 0:
            signal.pause()


class KillAtCheckpoint(tune.Callback):
    """Kills a process when the driver knows of a trial's second checkpoint."""

    def __init__(self, victim):
        self._victim = victim

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        if checkpoint.to_dict()["step"] == 2:
            os.kill(trial.last_result.get(self._victim) or int(self._victim), signal.SIGKILL)


def run(tmp_path, victim, **options):
    return tune.run(
        train,
        name="sweep",
        storage_path=str(tmp_path / "results"),
        callbacks=[KillAtCheckpoint(victim)],
        verbose=0,
        orchestrate=False,
        **options,
    )


@pytest.fixture(scope="module")
def workers():
    with LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def on_workers(workers):
    tune.init(workers.scheduler_address)
    yield
    tune.shutdown()


@pytest.mark.parametrize("victim", ["zygote", "worker"])
def test_a_lost_trial_goes_on_from_its_newest_checkpoint(on_workers, tmp_path, victim):
    analysis = run(tmp_path, victim)
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED"
    assert (trial.last_result["step"], trial.last_result["start"]) == (STEPS, 2)


def test_a_lost_scheduler_ends_the_sweep_and_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 2.0)
    with (
        dask_scheduler() as (scheduler, address),
        dask_worker(address, "--local-directory", str(tmp_path)),
    ):
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(1, 60)
        tune.init(address)
        try:
            with pytest.raises(ClusterError, match=r"(?s)scheduler at tcp.* is lost.*resume=True"):
                run(tmp_path, str(scheduler.pid))
        finally:
            tune.shutdown()
    analysis = run(tmp_path, "nobody", resume=True)
    tune.shutdown()
    (trial,) = analysis.trials
    assert (trial.last_result["step"], trial.last_result["start"]) == (STEPS, 2)
