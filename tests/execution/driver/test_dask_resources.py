"""Whether nodes could ever run a trial, and what Dask is told of trials that wait."""

from __future__ import annotations

import time

import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.error import ClusterError, InsufficientResources, InvalidArgument
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.driver.dask_resources import (
    Demand,
    check_fits,
    check_memory,
    cores,
    real_gpus,
    tasks_for,
)
from prefect_tune.resources import PlacementGroupFactory, Resources
from tests.execution.experiments import Experiment, make_env

NODES = {"here": Resources.of(CPU=2), "there": Resources.of(CPU=1, license=1)}
BIG = (Resources.of(CPU=8, GPU=2), 8)


@pytest.mark.parametrize(
    ("request_", "hints"),
    [
        (Resources.of(CPU=3), []),
        (Resources.of(CPU=1, license=2), []),
        (Resources.of(CPU=1, GPU=1), ["Declare GPUs with tune.init(num_gpus=...)"]),
        (
            Resources.of(CPU=1, memory=100),
            ["Leave memory out, or declare it with tune.init(resources={'memory': ...})"],
        ),
    ],
)
def test_hints_are_about_what_no_node_has_at_all(request_, hints):
    with pytest.raises(InsufficientResources) as told:
        check_fits(request_, NODES)
    text = str(told.value)
    assert "here has 2 CPU" in text
    assert all(hint in text for hint in hints)
    assert (text.count("Declare") + text.count("Leave")) == len(hints)


def test_memory_is_in_bytes():
    check_memory(Resources.of(CPU=1))
    check_memory(Resources.of(CPU=1, memory=2e9))
    with pytest.raises(InvalidArgument, match=r"\"memory\" is 4, which are bytes.*2e9"):
        check_memory(Resources.of(CPU=1, memory=4))


def test_gpus_that_other_workers_of_the_host_have_are_not_used(caplog):
    has = Resources.of(CPU=2, GPU=2)
    assert real_gpus("tcp://c:1", has, 2, 1) == Resources.of(CPU=2, GPU=1)
    assert real_gpus("tcp://d:1", has, 2, 2) == Resources.of(CPU=2)
    assert "sees 2 (CUDA_VISIBLE_DEVICES, /dev/nvidia*), of which other workers" in caplog.text


def test_one_node_is_enough():
    check_fits(Resources.of(CPU=1, license=1), NODES)


@pytest.mark.parametrize("name", ["GPU", "license"])
def test_a_cluster_of_somebody_else_is_not_described_with_init(name):
    with pytest.raises(InsufficientResources) as told:
        check_fits(Resources.of(CPU=1, **{name: 1}), {"there": Resources.of(CPU=1)}, False)
    text = str(told.value)
    assert "tune.init" not in text
    assert f"tart workers with `dask worker ... --resources '{name}=2'`" in text


def test_gpus_that_a_worker_does_not_see_are_not_used(caplog):
    has = Resources.of(CPU=2, GPU=2)
    assert real_gpus("tcp://a:1", has, 2) is has
    assert not caplog.records
    assert real_gpus("tcp://a:1", has, 1) == Resources.of(CPU=2, GPU=1)
    assert "tcp://a:1 declares 2 GPUs and sees 1 " in caplog.text
    assert real_gpus("tcp://b:1", has, 0) == has
    assert "tcp://b:1 declares 2 GPUs and sees none" in caplog.text


def group(bundles, strategy="PACK"):
    return Resources.parse(PlacementGroupFactory(bundles, strategy))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (group([{"CPU": 1}, {"CPU": 3}]), "bundle 1 of a trial asks for 3 CPU, which no node has"),
        (group([{"CPU": 1}, {"GPU": 1}]), "Declare GPUs with"),
        (group([{"CPU": 1}] * 3, "STRICT_SPREAD"), "That takes 3 nodes, one for each bundle"),
        (group([{}, {"CPU": 1}, {"CPU": 2}, {"CPU": 1}], "STRICT_SPREAD"), "takes 3 nodes"),
        (group([{"CPU": 2}, {"CPU": 1}], "STRICT_PACK"), "a single node with room for all"),
        (group([{"CPU": 2}, {"CPU": 1}, {"CPU": 1}]), "PACK of 1 x (2 CPU); 2 x (1 CPU)"),
    ],
)
def test_bundles_that_no_nodes_can_hold_are_named(request_, said):
    with pytest.raises(InsufficientResources, match="`resources_per_trial`") as told:
        check_fits(request_, NODES)
    assert said in str(told.value)
    assert "here has 2 CPU" in str(told.value)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_SPREAD"])
def test_bundles_may_be_on_several_nodes(strategy):
    check_fits(group([{"CPU": 2}, {"CPU": 1}], strategy), NODES)
    check_fits(group([{}, {"CPU": 2}, {"license": 1}], strategy), NODES)


def test_many_nodes_are_told_about_by_what_they_have():
    with pytest.raises(InsufficientResources, match="1000 nodes have 8 CPU each"):
        check_fits(Resources.of(CPU=9), {f"n{n}": Resources.of(CPU=8) for n in range(1000)})


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
