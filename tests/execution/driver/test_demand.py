"""Trials that wait, as a Dask scheduler sees them."""

from __future__ import annotations

import time

import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.error import ClusterError
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.driver.demand import Demand, cores, tasks_for
from prefect_tune.resources import Resources
from tests.execution.experiments import Experiment, make_env

BIG = (Resources.of(CPU=8, GPU=2), 8)


@pytest.mark.parametrize(
    ("request_", "workers", "threads"),
    [
        (Resources.of(CPU=1), [], 1),
        (Resources.of(CPU=3.5), [], 4),
        (Resources.of(CPU=0.1), [BIG], 1),
        (Resources.of(CPU=3), [BIG], 3),
        (Resources.of(CPU=1, GPU=1), [BIG], 4),  # half of all the worker has
        (Resources.of(CPU=2), [(Resources.of(CPU=2), 16), BIG], 2),  # the better of both
        (Resources.of(CPU=9), [BIG], 9),
        (Resources.of(), [BIG], 1),
    ],
)
def test_how_many_threads_a_trial_takes_up(request_, workers, threads):
    assert cores(request_, workers) == threads


@given(st.integers(1, 20), st.integers(0, 20), st.integers(1, 4))
def test_dask_counts_a_task_as_one_thread(waiting, running, cpus):
    request = Resources.of(CPU=cpus)
    asked = tasks_for({request: waiting}, [request] * running, [(Resources.of(CPU=4), 4)])
    # It adds one for each attempt that runs.
    assert asked + running == (waiting + running) * cpus
    assert tasks_for({}, [request] * running, []) == 0


@pytest.fixture
def cluster():
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def train(config):
    tune.report(x=1)


def test_an_adaptive_cluster_is_asked_for_what_waits(cluster):
    with Client(cluster, set_as_default=False) as client:
        demand = Demand(client, "train-1")

        for count in (7, 2, 3):
            client.sync(_show, demand, count)
            while client.run_on_scheduler(_count_unrunnable) != count:
                pass
            assert client.run_on_scheduler(_adaptive_target) == 1
        client.sync(_show, demand, 0)
        while client.run_on_scheduler(_count_unrunnable):
            pass


def _count_unrunnable(dask_scheduler):
    return len(dask_scheduler.unrunnable)


def _adaptive_target(dask_scheduler):
    return dask_scheduler.adaptive_target()


async def _show(demand, count):
    demand.show(count)


def test_a_cluster_grows_from_nothing_to_a_worker_for_each_trial(cluster, tmp_path):
    def train(config):
        (tmp_path / f"began-{config['n']}").touch()
        while len(list(tmp_path.glob("began-*"))) < 3:  # all at the same time
            time.sleep(0.02)

    adaptive = cluster.adapt(minimum=0, maximum=3, interval="50 ms")
    try:
        analysis = tune.run(
            train,
            config={"n": tune.grid_search([1, 2, 3])},
            cluster=cluster,
            orchestrate=False,
            verbose=0,
            storage_path=str(tmp_path / "results"),
            time_budget_s=100,
        )
    finally:
        adaptive.stop()
    assert [trial.last_result["done"] for trial in analysis.trials] == [True] * 3
    assert len(list(tmp_path.glob("began-*"))) == 3


def test_a_sweep_gives_up_if_no_worker_comes(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_TUNE_WAIT_FOR_WORKERS_S", "0.2")
    with pytest.raises(
        ClusterError, match=r"no worker that can run trials for 0\.2 s.*dask worker"
    ):
        tune.run(train, cluster=cluster, orchestrate=False, verbose=0, storage_path=str(tmp_path))


def test_a_time_budget_ends_the_wait_for_a_worker(cluster, tmp_path):
    analysis = tune.run(
        train,
        cluster=cluster,
        orchestrate=False,
        verbose=0,
        time_budget_s=1,
        storage_path=str(tmp_path),
    )
    assert not analysis.trials or not analysis.trials[0].last_result


def test_a_worker_that_comes_late_is_used(cluster, tmp_path):
    with Experiment(DaskExecutor(connect(cluster)), make_env(train, tmp_path), wait=False) as run:
        assert run.executor.capacity() == ()
        cluster.scale(1)
        while not run.executor.capacity():
            run.next_event()
        assert run.run("a")[1].error is None


def test_a_sweep_in_a_task_leaves_its_thread_to_the_trials(tmp_path):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        options = {"address": cluster.scheduler_address, "path": str(tmp_path)}
        assert client.submit(_sweeps, **options).result(timeout=120) == ["TERMINATED"] * 2


def _sweeps(address, path):
    """Two of them, one after the other."""
    options = {"orchestrate": False, "verbose": 0, "storage_path": path}
    runs = [tune.run(train, cluster=address, **options) for _ in range(2)]
    return [trial.status for run in runs for trial in run.trials]
