"""Attempts with several bundles, and the functions that they start there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import pytest
from distributed import Client, Event, LocalCluster

import prefect_tune as tune
from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import CapacityChanged, Outcome
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.placement import Placer
from prefect_tune.error import TrialWorkerFailed
from prefect_tune.execution.base import AttemptRequest, TrialPlace
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver import node_pool
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.node import experiment as node_experiment
from prefect_tune.execution.node.bundles import NodeBundles
from prefect_tune.execution.node.gpu_allocator import GpuAllocator
from prefect_tune.execution.node.pending_attempt import AttemptCancelled, PendingAttempt
from prefect_tune.resources import PlacementGroupFactory, Resources
from tests.execution.dask_workers import dask_worker
from tests.execution.experiments import Experiment, make_env

BUNDLES = [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0}]


@pytest.fixture(scope="module")
def cluster():
    options = ("--nthreads", "2", "--resources", "GPU=1")
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with (
            dask_worker(address, *options),
            dask_worker(address, *options),
            dask_worker(address, *options),
        ):
            yield address


@pytest.fixture
def experiment(cluster, tmp_path):
    def experiment(trainable, **options):
        return Experiment(DaskExecutor(connect(cluster)), make_env(trainable, tmp_path, **options))

    return experiment


def place(run, bundles=BUNDLES, strategy="STRICT_SPREAD"):
    """The options of a launch with these bundles."""
    request = Resources.parse(PlacementGroupFactory(bundles, strategy))
    while len(run.executor.capacity()) < 3:
        run.next_event_of(CapacityChanged)
    placer = Placer()
    placer.update(run.executor.capacity(), [])
    slot = placer.reserve(request)
    assert slot is not None
    return {
        "resources": request,
        "node": slot.node,
        "devices": slot.devices,
        "others": slot.others,
    }


def describe(rank):
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    return rank, os.getppid(), os.getcwd(), [os.environ[name] for name in names]


def hang(path=None):
    if path is not None:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    time.sleep(600)


def wait_for_file(path):
    while not (path.exists() and path.read_text()):
        time.sleep(0.05)
    return int(path.read_text())


def use_all(config):
    workers = tune.trial_workers()
    calls = [worker.start(describe, rank) for rank, worker in enumerate(workers)]
    said = [call.result(60) for call in calls]
    tune.report(
        said=said,
        workers=[(w.bundle, w.address, w.host, w.resources, list(w.devices)) for w in workers],
        asked=tune.get_trial_resources().bundles,
    )


def test_a_function_runs_in_each_bundle_with_what_that_has(experiment):
    with experiment(use_all) as run:
        options = place(run)
        (result,), end = run.run("t", **options)
    assert end.outcome is Outcome.FINISHED, end.error
    nodes = [options["node"], *(slot.node for slot in options["others"])]
    assert len(set(nodes)) == 3
    assert [worker[1] for worker in result["workers"]] == nodes
    assert {worker[2] for worker in result["workers"]} == {"127.0.0.1"}
    assert [worker[3] for worker in result["workers"]] == BUNDLES == result["asked"]
    (gpu,) = options["others"][0].devices
    assert [worker[4] for worker in result["workers"]] == [[], [gpu], []]
    ranks, parents, directories, variables = zip(*result["said"], strict=True)
    assert ranks == (0, 1, 2)
    assert len(set(parents)) == 3  # of three nodes
    assert len(set(directories)) == 1
    assert list(variables) == [["1", ""], ["2", gpu], ["1", ""]]


def cut_off(address, dask_worker):
    connect = dask_worker.rpc.connect

    async def refuse(addr, timeout=None):
        if addr == address:
            raise OSError(f"Timed out trying to connect to {addr}")
        return await connect(addr, timeout)

    dask_worker.rpc.connect = refuse


def join_again(dask_worker):
    del dask_worker.rpc.connect


def test_workers_that_cannot_reach_each_other_are_named(experiment, cluster, caplog):
    with experiment(use_all) as run, Client(cluster, set_as_default=False) as client:
        options = place(run)
        node, other = options["node"], options["others"][0].node
        client.run(cut_off, other, workers=[node])
        try:
            _, end = run.run("t", **options)
        finally:
            client.run(join_again, workers=[node])
    told = f"the worker at {node} cannot reach the one at {other}, which has a bundle of trial_t"
    assert end.outcome is Outcome.LOST
    assert told in str(end.error)
    assert told in caplog.text


def fail():
    raise LookupError("nothing here")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def see_failures(config):
    worker = tune.trial_workers()[1]
    with pytest.raises(LookupError, match="nothing here") as told:
        worker.start(fail).result(60)
    assert "in fail" in str(told.value.__cause__)
    with pytest.raises(TrialWorkerFailed, match="killed by SIGKILL"):
        worker.start(die).result(60)
    hanging = worker.start(hang)
    hanging.end()
    with pytest.raises(TrialWorkerFailed, match="ended by the trial"):
        hanging.result(60)
    assert worker.start(pow, 2, 5).result(60) == 32


def test_a_trial_sees_what_becomes_of_its_functions(experiment):
    with experiment(see_failures) as run:
        _, end = run.run("t", **place(run))
    assert end.outcome is Outcome.FINISHED, end.error


def leave_one(config):
    tune.trial_workers()[2].start(hang, config["file"])
    tune.report(x=1)
    while config.get("hang"):
        time.sleep(0.1)
    wait_for_file(config["path"])


def test_functions_end_with_their_trial(experiment, tmp_path, ends):
    file = tmp_path / "pid"
    with experiment(leave_one) as run:
        _, end = run.run("t", {"file": str(file), "path": file}, **place(run))
        assert end.outcome is Outcome.FINISHED, end.error
        assert ends(wait_for_file(file))
        # All is free again, there as well as here.
        _, end = run.run("u", {"file": str(file), "path": file}, **place(run))
        assert end.outcome is Outcome.FINISHED, end.error


def test_an_attempt_that_loses_a_bundle_is_lost(experiment, cluster, tmp_path, ends):
    file = tmp_path / "pid"
    with experiment(leave_one) as run, Client(cluster) as client:
        options = place(run)
        run.launch("t", {"file": str(file), "hang": True}, **options)
        trial = run.until_started("t").pid
        process = wait_for_file(file)
        victim = options["others"][1].node
        os.kill(client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        end = run.until_ended("t")
        assert end.outcome is Outcome.LOST
        assert victim in end.error.message
        assert ends(trial)
        assert ends(process)


def once(config):
    tune.report(x=1)


def wait_for(event):
    Event(event).wait()


def test_all_bundles_are_there_or_the_attempt_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(node_pool, "_START_S", 0.2)
    monkeypatch.setattr(node_experiment, "_GATHER_S", 0.2)
    with (
        LocalCluster(
            n_workers=3, processes=False, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
        Experiment(DaskExecutor(connect(cluster)), make_env(once, tmp_path)) as run,
    ):
        options = place(run, [{"CPU": 1}] * 2)
        client.wait_for_workers(3)
        over = Event("over", client)
        busy = client.submit(wait_for, "over", workers=[options["others"][0].node])
        while not client.processing()[options["others"][0].node]:
            time.sleep(0.05)
        run.launch("t", **options)
        assert run.until_ended("t").outcome is Outcome.UNSTARTED
        over.set()
        busy.result()


async def cancel_gathering(tmp_path, steps):
    """Cancel an attempt on node "a" after so many steps of its event loop."""

    async def not_yet(address, operation, **arguments):
        await asyncio.Event().wait()

    def slot(number):
        return Slot("a", Resources.of(GPU=1), (str(number),))

    bundles = [{"CPU": 1.0, "GPU": 1.0}, {"GPU": 1.0}, {"GPU": 1.0}]
    request = Resources.parse(PlacementGroupFactory(bundles, "PACK"))
    launch = Launch("t", 1, "t", {}, "a", request, ("0",), (slot(1), slot(2)))
    gpus = GpuAllocator(("0", "1", "2"))
    env = make_env(once, tmp_path)
    # No process starts, so nothing needs a directory, a spawner or a guard of memory.
    node = NodeBundles(env, None, None, gpus, None, "a", not_yet)
    pending = PendingAttempt()
    gathering = node.gather(AttemptRequest(env.experiment_id, launch, TrialPlace("t")))
    waiting = asyncio.create_task(pending.unless_cancelled(gathering))
    for _ in range(steps):
        await asyncio.sleep(0)
    pending.cancel()
    with contextlib.suppress(AttemptCancelled):
        await waiting
    await node.finish(launch.key)
    # Not available if a device is still taken.
    await asyncio.wait_for(gpus.acquire(Slot("a", Resources.of(GPU=3), ("0", "1", "2"))), 10)


@pytest.mark.parametrize("steps", range(8))
def test_an_attempt_that_is_cancelled_at_any_step_leaves_no_gpu_taken(tmp_path, steps):
    asyncio.run(cancel_gathering(tmp_path, steps))
