"""GPUs, their models and memory, as Dask workers of one host offer them."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

import pytest
from distributed import Client, LocalCluster

import prefect_tune as tune
from prefect_tune.coordinator.events import CapacityChanged
from prefect_tune.error import InsufficientResources
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.resources import GPU, MEMORY, Resources
from tests.execution.dask_workers import dask_worker
from tests.execution.experiments import Experiment, make_env

GPUS = [
    {"uuid": "GPU-aaaa", "name": "NVIDIA A100-SXM4-80GB"},
    {"uuid": "GPU-bbbb", "name": "NVIDIA A100-SXM4-80GB"},
]


@contextmanager
def start(*visible, gpus=1):
    """A cluster with a worker for each value of ``CUDA_VISIBLE_DEVICES``; None for none."""
    options = ("--nthreads", "1", "--memory-limit", "2GB", "--resources", f"GPU={gpus}")
    with ExitStack() as stack:
        cluster = stack.enter_context(
            LocalCluster(n_workers=0, processes=True, dashboard_address=":0")
        )
        for value in visible:
            env = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
            stack.enter_context(dask_worker(cluster.scheduler_address, *options, **env))
        with Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(len(visible), timeout=60)
        yield cluster.scheduler_address


def devices_of(config):
    tune.report(devices=os.environ["CUDA_VISIBLE_DEVICES"])


def capacity(run, nodes):
    while len(run.executor.capacity()) < nodes:
        run.next_event_of(CapacityChanged)
    return run.executor.capacity()


@pytest.mark.parametrize("visible", [(None, None), ("0,1", "1,0")])
def test_two_workers_of_a_host_hand_out_different_gpus(nvml, monkeypatch, tmp_path, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml(*GPUS)
    with start(*visible) as cluster:
        executor = DaskExecutor(connect(cluster))
        with Experiment(executor, make_env(devices_of, tmp_path)) as run:
            nodes = capacity(run, 2)
            assert sorted(node.devices for node in nodes) == [("0",), ("1",)]
            seen = []
            for number, node in enumerate(nodes):
                request = Resources.of(CPU=1, GPU=1)
                options = {"node": node.address, "devices": node.devices, "resources": request}
                results, _ = run.run(f"t{number}", **options)
                seen.append((results[0]["devices"],))
            assert seen == [node.devices for node in nodes]


def test_workers_of_a_host_without_gpus_make_up_different_ids(tmp_path):
    with start(None, None, gpus=2) as cluster:
        executor = DaskExecutor(connect(cluster))
        with Experiment(executor, make_env(devices_of, tmp_path)) as run:
            ids = [id for node in capacity(run, 2) for id in node.devices]
    assert sorted(ids) == ["0", "1", "2", "3"]


def test_a_worker_without_gpus_left_has_none(nvml, monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml(*GPUS)
    with start(None, None, gpus=2) as cluster:
        executor = DaskExecutor(connect(cluster))
        with Experiment(executor, make_env(devices_of, tmp_path)) as run:
            nodes = capacity(run, 2)
            assert sorted(len(node.devices) for node in nodes) in ([0, 2], [1, 1])
            assert sum(node.resources.get(GPU, 0) for node in nodes) == 2
    assert "of which other workers of the cluster on its host have" in caplog.text


def test_models_and_memory_are_offered_where_they_are_asked_for(nvml, monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml(GPUS[0], {"uuid": "GPU-vvvv", "name": "Tesla V100-SXM2-16GB"})
    with start("0", "1") as cluster:
        executor = DaskExecutor(connect(cluster))
        request = {"gpu": 1, "accelerator_type:V100": 0.001, "memory": 1e9}
        executor.validate_request(Resources.parse(request))
        with pytest.raises(InsufficientResources, match="which no node has") as told:
            executor.validate_request(Resources.parse({"gpu": 1, "accelerator_type:H100": 0.001}))
        assert "There is: accelerator_type:A100, accelerator_type:V100." in str(told.value)
        with pytest.raises(InsufficientResources, match="3 GB memory, which no node has"):
            executor.validate_request(Resources.parse({"memory": 3e9}))
        env = make_env(devices_of, tmp_path)
        with Experiment(executor, env) as run:
            nodes = {node.devices: node.offers for node in capacity(run, 2)}
    assert nodes["GPU-vvvv",]["accelerator_type:V100"] == 1
    assert nodes["GPU-aaaa",]["accelerator_type:A100"] == 1
    assert {has[MEMORY] for has in nodes.values()} == {2e9}
