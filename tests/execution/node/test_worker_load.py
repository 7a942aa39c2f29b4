"""Workers that are busy with other things than the experiment."""

from __future__ import annotations

import threading

import pytest
from distributed import Client, LocalCluster, Status

import prefect_tune as tune
from prefect_tune.coordinator.events import AttemptStarted, CapacityChanged, Outcome
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver import node_pool
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.node import worker_load
from prefect_tune.resources import Resources
from tests.execution.experiments import Experiment, make_env

LICENSE = Resources.of(license=1)


@pytest.fixture
def cluster():
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        memory_limit=0,  # or Dask decides itself whether it is paused
        processes=False,
        dashboard_address=":0",
        resources={"license": 1},
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def run(cluster, tmp_path):
    with Experiment(DaskExecutor(connect(cluster)), make_env(train, tmp_path)) as run:
        yield run


def train(config):
    yield {"x": 0}


def until_node(run, condition):
    """Wait until the node is as it should be; returns it."""
    while True:
        event = run.next_event()
        if isinstance(event, CapacityChanged) and condition(event.nodes[0]):
            return event.nodes[0]


#: Tasks of somebody else, in this very process: that they have begun, and may end.
_BEGUN = threading.Semaphore(0)
_END = threading.Event()


def hold():
    _BEGUN.release()
    _END.wait(120)


class Others:
    """Somebody else's tasks, which hold what they have until they are let go."""

    def __init__(self, client):
        self._client = client
        self._tasks = []
        _END.clear()

    def take(self, **options):
        self._tasks.append(self._client.submit(hold, pure=False, **options))
        assert _BEGUN.acquire(timeout=30)

    def let_go(self):
        _END.set()


@pytest.fixture
def others(client):
    others = Others(client)
    yield others
    others.let_go()


def test_an_attempt_waits_where_dask_would_start_it(run, others, monkeypatch):
    """What somebody else takes first is known, and what waits for it is given back."""
    monkeypatch.setattr(node_pool, "_START_S", 0.2)
    others.take(resources={"license": 1})
    run.launch("a", resources=LICENSE)
    assert run.until_ended("a").outcome is Outcome.UNSTARTED
    told = [event.nodes[0] for event in run.seen if isinstance(event, CapacityChanged)]
    assert told[-1].held == Resources.of(license=1, CPU=1)  # before it was given back
    assert "a" not in {e.trial_id for e in run.seen if isinstance(e, AttemptStarted)}
    others.let_go()
    until_node(run, lambda node: not node.held)
    assert run.run("a", attempt=2, resources=LICENSE)[1].outcome is Outcome.FINISHED


def test_the_first_look_is_before_the_first_attempt(cluster, others, tmp_path):
    others.take()
    with Experiment(DaskExecutor(connect(cluster)), make_env(train, tmp_path)) as run:
        (node,) = run.executor.capacity()
        assert (node.held, node.obstacle) == (Resources.of(CPU=1), "")
        others.take()
        node = until_node(run, lambda node: node.obstacle)
        assert node.obstacle == "other Dask tasks run in all of its 2 threads"
        others.let_go()
        assert not until_node(run, lambda node: not node.obstacle).held


def test_nothing_starts_on_a_paused_worker(run, cluster):
    (worker,) = cluster.workers.values()
    worker.status = Status.paused
    assert "Dask has paused" in until_node(run, lambda node: node.obstacle).obstacle
    worker.status = Status.running
    until_node(run, lambda node: not node.obstacle)
    assert run.run("a")[1].outcome is Outcome.FINISHED


def test_a_worker_that_does_not_start_what_it_could_is_avoided(run, cluster, others, monkeypatch):
    """A task of somebody else that needs more is in front of the attempt."""
    monkeypatch.setattr(node_pool, "_START_S", 0.2)
    monkeypatch.setattr(worker_load, "_PATIENCE_S", 0.3)
    (worker,) = cluster.workers.values()
    watch = worker.plugins["prefect_tune-agent"].agent._experiments[run.env.experiment_id].load
    assert watch.would_start({"license": 1}, waited_s=0.1)  # Dask may still get to it
    assert not watch.would_start({"license": 1}, waited_s=1.0)
    assert "has not started a trial" in until_node(run, lambda node: node.obstacle).obstacle


def test_a_sweep_uses_the_free_one_of_two_workers(tmp_path):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        others = Others(client)
        others.take()
        try:
            analysis = tune.run(
                lambda config: {"x": 1},
                num_samples=3,
                cluster=cluster,
                orchestrate=False,
                verbose=0,
                storage_path=str(tmp_path),
            )
        finally:
            others.let_go()
        assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 3
