"""Clusters of several worker processes: workers that die, join, or do not fit."""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

import prefect_tune as tune
from prefect_tune.coordinator.events import (
    CapacityChanged,
    CheckpointFailed,
    Outcome,
    ResultReported,
)
from prefect_tune.error import ClusterError
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.filesystem.location import Location
from tests.execution.dask_workers import dask_scheduler, dask_worker, free_port
from tests.execution.experiments import Experiment, make_env


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def experiment(cluster, tmp_path):
    def experiment(trainable, **options):
        return Experiment(DaskExecutor(connect(cluster)), make_env(trainable, tmp_path, **options))

    return experiment


@pytest.fixture
def scheduler():
    """A scheduler without workers."""
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def train(config):
    yield {"x": 0, "worker": os.getppid()}
    while config.get("hang"):
        time.sleep(60)


def test_trials_run_on_every_worker(experiment):
    with experiment(train) as run:
        nodes = [node.address for node in run.executor.capacity()]
        assert len(nodes) == 2
        for number, node in enumerate(nodes):
            results, end = run.run(f"t{number}", node=node)
            assert end.outcome is Outcome.FINISHED
            assert len(results) == 1


def test_a_killed_worker_loses_its_trials_only_and_is_replaced(experiment, cluster, ends):
    with experiment(train) as run, Client(cluster) as client:
        dying, living = (node.address for node in run.executor.capacity())
        run.launch("a", {"hang": True}, node=dying)
        run.launch("b", {"hang": True}, node=living)
        process = run.until_started("a").pid
        if "b" not in {e.trial_id for e in run.seen if isinstance(e, ResultReported)}:
            run.until_reported("b")
        os.kill(client.run(os.getpid, workers=[dying])[dying], signal.SIGKILL)
        end = run.until_ended("a")
        assert end.outcome is Outcome.LOST
        assert dying in end.error.message
        assert ends(process)
        assert "b" not in {e.trial_id for e in run.seen if hasattr(e, "outcome")}
        while len(run.executor.capacity()) < 2:  # the nanny starts another worker
            run.next_event()
        (newcomer,) = {n.address for n in run.executor.capacity()} - {living}
        assert run.run("c", node=newcomer)[1].outcome is Outcome.FINISHED


def test_a_flood_over_the_network(experiment):
    def flood(config):
        for x in range(20_000):
            yield {"x": x}

    with experiment(flood) as run:
        results, _ = run.run("a")
    assert [result["x"] for result in results] == list(range(20_000))


# -- workers started by hand --------------------------------------------------------------------

_NO_PACKAGE = """
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "prefect_tune":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
_OTHER_VERSION = """
import prefect_tune._version
prefect_tune._version.__version__ = "0.0.1"
"""
_OTHER_PYTHON = """
from prefect_tune.execution.protocol import versions
own = versions.versions()
versions.versions = lambda: {**own, "Python": "3.9"}
"""
_OLD_DASK = """
import distributed
distributed.__version__ = "2025.12.0"
"""


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (_NO_PACKAGE, r"worker at tcp://.* cannot import prefect_tune.* needs prefect_tune \d"),
        (_OTHER_VERSION, r"worker at tcp://.* has prefect_tune 0\.0\.1 and the driver has"),
        (_OTHER_PYTHON, r"worker at tcp://.* has Python 3\.9 and the driver has 3\..* needs"),
        (_OLD_DASK, r"worker at tcp://.* has distributed 2025\.12\.0.* 2026\.1 or later"),
    ],
    ids=["no package", "other version", "other Python", "old Dask"],
)
def test_a_worker_that_does_not_fit_is_named(scheduler, tmp_path, before, told):
    for _ in range(2):  # the second time as well
        with dask_worker(scheduler, before=before):
            run = Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path))
            with pytest.raises(ClusterError, match=told), run:
                pass


@pytest.mark.parametrize(
    "before",
    [_NO_PACKAGE, _OTHER_VERSION, _OTHER_PYTHON],
    ids=["no package", "other version", "other Python"],
)
def test_a_worker_that_does_not_fit_is_left_out_from_the_beginning(
    scheduler, tmp_path, before, caplog
):
    with dask_worker(scheduler), dask_worker(scheduler, before=before), Client(scheduler) as client:
        client.wait_for_workers(2)
        with Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path)) as run:
            (node,) = run.executor.capacity()
            (other,) = set(client.scheduler_info(n_workers=-1)["workers"]) - {node.address}
            assert f"The worker at {other} is left out" in caplog.text
            assert run.run("a", node=node.address)[1].outcome is Outcome.FINISHED


class Told(logging.Handler):
    """What has been logged, to be waited for."""

    def __init__(self):
        super().__init__()
        self.messages = queue.Queue()

    def emit(self, record):
        self.messages.put(record.getMessage())


@pytest.mark.parametrize(
    ("before", "told"),
    [(_NO_PACKAGE, "cannot import prefect_tune"), (_OTHER_VERSION, "has prefect_tune 0.0.1")],
    ids=["no package", "other version"],
)
def test_a_worker_that_joins_and_does_not_fit_is_left_to_others(scheduler, tmp_path, before, told):
    log = logging.getLogger("prefect_tune")
    handler = Told()
    log.addHandler(handler)
    try:
        with dask_worker(scheduler):
            run = Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path))
            with run, dask_worker(scheduler, before=before), Client(scheduler) as client:
                while "left out" not in (message := handler.messages.get()):
                    pass
                assert told in message
                (node,) = run.executor.capacity()
                (other,) = set(client.scheduler_info(n_workers=-1)["workers"]) - {node.address}
                assert other in message
                assert run.run("a", node=node.address)[1].outcome is Outcome.FINISHED
                assert client.submit(sum, (1, 2), workers=[other]).result() == 3
    finally:
        log.removeHandler(handler)


def test_a_scheduler_without_the_package_is_told_before_the_first_trial(tmp_path):
    with dask_scheduler(before=_NO_PACKAGE) as (_, address), dask_worker(address):
        run = Experiment(DaskExecutor(connect(address)), make_env(train, tmp_path))
        with (
            pytest.raises(ClusterError, match=r"scheduler at tcp://.*cannot import.* Install"),
            run,
        ):
            pass


def test_a_cluster_without_workers_is_told(scheduler):
    handle = connect(scheduler)
    with pytest.raises(ClusterError, match=r"no worker for 0 s.*dask worker tcp://"):
        handle.workers(timeout=0.1)
    handle.release()


def test_a_worker_that_joins_is_used(scheduler, tmp_path):
    with dask_worker(scheduler, "--resources", "CPU=0.5 license=1"):
        run = Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path))
        with run, dask_worker(scheduler, "--nthreads", "3"):
            assert dict(run.executor.capacity()[0].resources) == {"CPU": 0.5, "license": 1}
            while len(run.executor.capacity()) < 2:
                assert isinstance(run.next_event(), CapacityChanged)
            (joined,) = [n for n in run.executor.capacity() if n.resources["CPU"] == 3]
            assert run.run("a", node=joined.address)[1].outcome is Outcome.FINISHED


def test_a_worker_that_hangs_delays_a_sweep_for_a_while_only(
    scheduler, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("prefect_tune.execution.protocol.versions._ANSWER_S", 3.0)
    monkeypatch.setattr("prefect_tune.execution.node.entry._INSTALL_S", 0.5)
    with dask_worker(scheduler) as frozen, Client(scheduler) as client:
        client.wait_for_workers(1)
        (silent,) = client.scheduler_info(n_workers=-1)["workers"]
        with dask_worker(scheduler):
            client.wait_for_workers(2)
            frozen.send_signal(signal.SIGSTOP)
            run = Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path))
            with run:
                (node,) = run.executor.capacity()
                assert node.address != silent
                assert f"The worker at {silent} does not answer" in caplog.text
                assert run.run("a", node=node.address)[1].outcome is Outcome.FINISHED
                frozen.send_signal(signal.SIGCONT)
                while len(run.executor.capacity()) < 2:
                    assert isinstance(run.next_event(), CapacityChanged)
                assert run.run("b", node=silent)[1].outcome is Outcome.FINISHED


def test_a_cluster_of_workers_that_hang_is_told(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("prefect_tune.execution.protocol.versions._ANSWER_S", 0.5)
    monkeypatch.setattr("prefect_tune.execution.node.entry._INSTALL_S", 0.5)
    monkeypatch.setattr("prefect_tune.execution.driver.node_link._OPEN_TIMEOUT_S", 0.5)
    told: queue.Queue[Exception] = queue.Queue()
    with dask_worker(scheduler) as frozen, Client(scheduler) as client:
        client.wait_for_workers(1)
        frozen.send_signal(signal.SIGSTOP)
        executor = DaskExecutor(connect(scheduler))
        executor.open(make_env(train, tmp_path), lambda _: None, told.put)
        try:
            error = told.get(timeout=60)
        finally:
            executor.close()
    assert isinstance(error, ClusterError)
    assert "has not answered" in str(error)


def test_dask_does_not_run_an_attempt_again_on_a_worker_that_comes_back(scheduler, tmp_path):
    """Not even at the same address, where Dask would: it lets a task outlive three workers."""

    def train(config):
        with open(config["log"], "a") as log:
            log.write(f"{config['name']}\n")
        yield {"x": 0}
        while config.get("hang"):
            time.sleep(60)

    port = str(free_port())
    log = str(tmp_path / "log")
    options = ("--host", "127.0.0.1", "--worker-port", port)
    with dask_worker(scheduler, *options) as first:
        run = Experiment(DaskExecutor(connect(scheduler)), make_env(train, tmp_path))
        with run:
            run.launch("a", {"hang": True, "name": "a", "log": log})
            run.until_reported("a")
            first.kill()
            assert run.until_ended("a").outcome is Outcome.LOST
            first.wait()
            with dask_worker(scheduler, *options):
                while not run.executor.capacity():
                    run.next_event()
                assert run.executor.capacity()[0].address.endswith(port)
                # Dask runs what waits for a worker in order.
                assert run.run("b", {"name": "b", "log": log})[1].outcome is Outcome.FINISHED
    assert Path(log).read_text().split() == ["a", "b"]


def test_uploads_of_a_lost_worker_are_settled(cluster, experiment, fault_bucket, fault_proxy, ends):
    def train(config):
        tune.report({"x": 1}, checkpoint=tune.Checkpoint.from_dict({"x": 1}))

    fault_proxy.go_away()
    storage = Location(f"{fault_bucket.url}/exp", fault_bucket.options)
    with experiment(train, storage=storage) as run, Client(cluster) as client:
        node = run.node
        run.launch("a", node=node)
        assert run.until_ended("a").uploading == 1
        worker = client.run(os.getpid, workers=[node])[node]
        children = psutil.Process(worker).children()
        (mover,) = [p.pid for p in children if "transfer_process" in " ".join(p.cmdline())]
        os.kill(worker, signal.SIGKILL)
        failed = run.until(CheckpointFailed, "a")
        assert failed.path == "trial_a/checkpoint_000001"
        assert node in failed.reason
        assert ends(mover)
