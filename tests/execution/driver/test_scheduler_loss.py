"""What becomes of an experiment when its Dask scheduler dies, or cannot be reached for a while."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time

import pytest
from distributed import Client

from prefect_tune.coordinator.events import CapacityChanged, Outcome
from prefect_tune.error import ClusterError
from prefect_tune.execution.cluster import connections as connection
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from tests.execution.dask_workers import dask_scheduler, dask_worker, free_port
from tests.execution.experiments import Experiment, make_env


@contextlib.contextmanager
def running_cluster(port, directory):
    """A scheduler with a worker, both processes of their own; yields the scheduler's."""
    place = ("--host", "127.0.0.1", "--local-directory", str(directory))
    with dask_scheduler(port=port) as (process, address), dask_worker(address, *place):
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(1, 60)
        yield process


@pytest.fixture
def scheduler(tmp_path):
    """The process of a scheduler that has a worker, and its port."""
    port = free_port()
    with running_cluster(port, tmp_path) as process:
        yield process, port


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A client that gives up within seconds."""
    monkeypatch.setattr(connection, "_TIMEOUT_S", 3.0)


class Relay:
    """Passes connections on to a port, until it is cut."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self):
        """Break what is connected now; new connections are passed on."""
        broken, self._open = self._open, []
        for sock in broken:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()
        self.cut()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
                self._open += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


def train(config):
    yield {"x": 0}
    while config.get("hang"):
        time.sleep(60)


def open_experiment(port, directory):
    executor = DaskExecutor(connect(f"tcp://127.0.0.1:{port}"))
    return Experiment(executor, make_env(train, directory))


def test_a_killed_scheduler_ends_the_experiment_with_a_clear_error(scheduler, tmp_path, ends):
    process, port = scheduler
    with open_experiment(port, tmp_path) as run:
        node = run.node
        ended = run.launch("a", {"hang": True})
        pid = run.until_started("a").pid
        process.send_signal(signal.SIGKILL)
        with pytest.raises(ClusterError, match=rf"scheduler at tcp://127\.0\.0\.1:{port} is lost"):
            run.until_ended("nobody")
        assert ended.result(timeout=0).outcome is Outcome.LOST
        assert run.executor.capacity() == ()
        assert ends(pid)
        assert run.launch("b", node=node).result(timeout=10).outcome is Outcome.LOST


def test_a_scheduler_that_is_started_again_is_used(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 60.0)
    process, port = scheduler
    with open_experiment(port, tmp_path) as run:
        run.launch("a", {"hang": True})
        run.until_started("a")
        process.send_signal(signal.SIGKILL)
        assert run.until_ended("a").outcome is Outcome.LOST
        process.wait()
        with running_cluster(port, tmp_path):
            while not run.executor.capacity():
                run.next_event()
            assert run.run("b")[1].outcome is Outcome.FINISHED


def test_a_broken_connection_costs_the_trials_that_ran_only(scheduler, tmp_path, ends):
    _, port = scheduler
    relay = Relay(port)
    try:
        with open_experiment(relay.port, tmp_path) as run:
            run.launch("a", {"hang": True})
            pid = run.until_started("a").pid
            relay.cut()
            end = run.until_ended("a")
            assert end.outcome is Outcome.LOST
            assert "connection to the scheduler is lost" in end.error.message
            while [len(e.nodes) for e in run.seen if isinstance(e, CapacityChanged)] != [1, 0, 1]:
                run.next_event()
            assert ends(pid)  # the node was told to begin anew
            assert run.run("b")[1].outcome is Outcome.FINISHED
    finally:
        relay.close()
