"""Choosing the cluster of a run."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from distributed import Client, LocalCluster

import prefect_tune as tune
from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.cluster import connections as connection
from prefect_tune.execution.cluster.api import connect, is_local_mode, is_output_shown
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from tests.execution.experiments import Experiment, make_env


@pytest.fixture(autouse=True)
def no_cluster():
    tune.shutdown()
    yield
    tune.shutdown()


def one(config):
    return {"x": 1}


def only_worker(handle):
    (worker,) = handle.workers().values()
    return worker


def test_a_run_starts_a_cluster_and_keeps_it():
    handle = connect()
    assert only_worker(handle).resources["CPU"] == len(os.sched_getaffinity(0))
    handle.release()
    assert connect() is handle
    assert not tune.is_initialized()


def test_init_sets_what_the_cluster_has():
    context = tune.init(num_cpus=3.5, num_gpus=2, resources={"license": 0.5})
    assert tune.is_initialized()
    worker = only_worker(connect())
    assert worker.address.startswith("inproc://")
    assert context.address == connect().address
    assert context.dashboard_url is None
    assert dict(worker.resources) == {"CPU": 3.5, "GPU": 2, "license": 0.5}
    tune.shutdown()
    assert not tune.is_initialized()
    tune.shutdown()  # a second time does no harm


def test_init_replaces_the_cluster_of_earlier_runs():
    connect()
    tune.init(num_cpus=7)
    assert only_worker(connect()).resources["CPU"] == 7


def test_init_twice_is_an_error_unless_ignored():
    tune.init(num_cpus=1)
    with pytest.raises(RuntimeError, match="shutdown"):
        tune.init(num_cpus=2)
    tune.init(num_cpus=2, ignore_reinit_error=True)
    assert only_worker(connect()).resources["CPU"] == 1


def test_init_as_a_context_manager():
    with tune.init(num_cpus=1, local_mode=True):
        assert is_local_mode()
    assert not tune.is_initialized()
    assert not is_local_mode()


def test_init_takes_what_scripts_pass_to_ray():
    tune.init(num_cpus=1, object_store_memory=10**9, _temp_dir="/x")
    tune.init(ignore_reinit_error=True, redis_max_memory=10**9, webui_host="::", redis_address=None)


def test_what_trials_print_is_shown_unless_init_says_no(capfd, monkeypatch):
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")

    def talks(config):
        print("word of a trial")

    def shown(chosen=None):
        run_config = tune.RunConfig(verbose=1, log_to_driver=chosen)
        tune.Tuner(talks, run_config=run_config).fit()
        return "word of a trial" in capfd.readouterr().out

    tune.init(num_cpus=1, log_to_driver=False)
    assert not is_output_shown()
    assert not shown()
    assert shown(True)
    tune.shutdown()
    assert is_output_shown()
    tune.init(num_cpus=1)
    assert shown()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"num_cpus": -1}, "`num_cpus`"),
        ({"num_gpus": float("nan")}, "`num_gpus`"),
        ({"num_cpus": "two"}, "`num_cpus`"),
        ({"resources": {"license": -1}}, r"license"),
        ({"resources": {"CPU": 1}}, "num_cpus"),
        ({"num_cpu": 1}, "`num_cpu`"),
        ({"address": "tcp://127.0.0.1:1", "num_cpus": 2}, "`address`"),
        ({"address": "ray://10.0.0.1:10001"}, "Ray"),
        ({"resources": 3}, "`resources`: got 3"),
        ({"resources": {3: 1}}, "`resources`: it names 3"),
        ({"dashboard_port": "x"}, "`dashboard_port`: got 'x'"),
        ({"dashboard_port": 99999}, "at most 65535"),
        ({"dashboard_port": -1}, "`dashboard_port`"),
        ({"dashboard_port": 0, "dashboard_host": 3}, "`dashboard_host`: got 3"),
        ({"local_mode": "x"}, "`local_mode`"),
        ({"include_dashboard": "no"}, "`include_dashboard`"),
        ({"address": ""}, "`address`.*empty"),
        ({"address": " "}, "`address`.*empty"),
    ],
)
def test_init_names_the_argument_that_is_wrong(arguments, told):
    with pytest.raises(InvalidArgument, match=told):
        tune.init(**arguments)
    assert not tune.is_initialized()


def test_no_cluster_is_started_if_that_is_forbidden():
    with pytest.raises(ClusterError, match=r"tune\.init"):
        connect(autostart=False)
    tune.init(num_cpus=1)
    assert connect(autostart=False)


def test_an_unreachable_address_is_told(monkeypatch):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ClusterError, match=rf"tcp://127\.0\.0\.1:{port}.*dask scheduler"):
        connect(f"tcp://127.0.0.1:{port}")


def test_no_other_cluster_takes_the_place_of_one_of_init_that_is_lost(monkeypatch):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 0.5)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        tune.init(address)
        lost = connect()
    while lost.alive:  # until the client notices that its connection is closed
        time.sleep(0.01)
    for _ in range(2):
        with pytest.raises(ClusterError, match=address):
            connect()
    assert not tune.is_initialized()
    tune.init(num_cpus=2)
    assert dict(only_worker(connect()).resources) == {"CPU": 2}


@pytest.mark.parametrize(
    "cluster", ["", " ", 17, object(), "http://10.0.0.1:8786", "ray://10.0.0.1:1"]
)
def test_something_that_is_no_cluster_is_told(cluster):
    with pytest.raises(InvalidArgument, match="`cluster`"):
        connect(cluster)


def test_a_scheduler_file_names_its_cluster(tmp_path):
    path = tmp_path / "scheduler.json"
    with pytest.raises(ClusterError, match=r"there is no scheduler file .*scheduler\.json"):
        connect(str(path))
    path.write_text("[1]")
    with pytest.raises(InvalidArgument, match="is no scheduler file"):
        connect(path)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        path.write_text(json.dumps({"address": cluster.scheduler_address}))
        for given in (path, str(path)):
            handle = connect(given)
            assert handle.address == cluster.scheduler_address
            handle.shutdown()


def test_a_closed_cluster_is_told():
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        pass
    with pytest.raises(ClusterError, match="`cluster`: the LocalCluster is closed"):
        connect(cluster)


def test_missing_certificates_are_told():
    with pytest.raises(ClusterError, match=r"asks for TLS, .*no certificates.*Security\("):
        connect("tls://127.0.0.1:1")


def test_existing_clusters(tmp_path):
    with (
        LocalCluster(
            n_workers=1, processes=False, threads_per_worker=3, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        for given in (cluster, client, cluster.scheduler_address):
            handle = connect(given)
            # What a worker does not declare is taken from its threads.
            assert dict(only_worker(handle).resources) == {"CPU": 3}
            with Experiment(DaskExecutor(handle), make_env(one, tmp_path)) as run:
                results, _ = run.run("a")
            assert results[0]["x"] == 1
            assert not handle.alive
        assert client.submit(lambda: 5).result() == 5
        assert client.status == "running"


def test_a_cluster_that_ends_says_nothing_of_batches_that_time_out_then(caplog):
    loop = connect().client.loop.asyncio_loop
    late = [loop.create_future(), loop.create_future()]
    tune.shutdown()
    while late:
        future = late.pop()
        future.set_exception(ValueError("lost") if late else TimeoutError("Timeout"))
        del future
        gc.collect()
    said = [record.exc_info[1] for record in caplog.records if record.name == "asyncio"]
    assert [str(error) for error in said] == ["lost"]


def test_asynchronous_clients_are_refused():
    async def main():
        async with Client(processes=False, asynchronous=True, dashboard_address=":0") as client:
            with pytest.raises(InvalidArgument, match="asynchronous"):
                connect(client)

    asyncio.run(main())


def test_from_a_running_event_loop_and_from_a_thread(tmp_path):
    def sweep():
        with Experiment(DaskExecutor(connect()), make_env(one, tmp_path)) as run:
            return run.run("a")[0][0]["x"]

    async def notebook():
        return sweep()

    assert asyncio.run(notebook()) == 1
    seen = []
    thread = threading.Thread(target=lambda: seen.append(sweep()))
    thread.start()
    thread.join(60)
    assert seen == [1]


_SCRIPT = """
import prefect_tune as tune
from prefect_tune.execution.cluster import connections as connection
from prefect_tune.execution.cluster.api import connect

def train(config):
    return {"x": 1}

if __name__ == "__main__":
    tune.init(num_cpus=1)
    print(tune.run(train, orchestrate=False, verbose=0, storage_path=%r).trials[0].last_result["x"])
"""


def test_a_script_starts_works_and_ends_without_noise(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT % str(tmp_path / "results"))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")


def test_a_fork_of_the_driver_has_no_cluster():
    connect()
    pid = os.fork()
    if pid == 0:
        os._exit(3 if tune.is_initialized() else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4


def test_a_fork_gets_a_cluster_like_that_of_its_parent():
    tune.init(num_cpus=3)
    with Client(connect().client.scheduler.address) as client:
        assert client.submit(one, 1).result(20) == {"x": 1}
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            signal.alarm(60)
            handle = connect()
            future = handle.client.submit(one, 2)
            found = (future.result(20), only_worker(handle).resources["CPU"])
            os.write(theirs, repr(found).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(theirs)
    with open(ours) as pipe:
        assert pipe.read() == repr(({"x": 1}, 3.0))
    assert connect().client.submit(one, 3).result(20) == {"x": 1}
