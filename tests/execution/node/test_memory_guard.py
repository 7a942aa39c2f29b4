"""Trials that use more memory than they are to have."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import psutil
import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import TrialWorkerFailed
from prefect_tune.execution.cluster.api import connect, init, shutdown
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.launch import helper_process
from prefect_tune.execution.node import memory_guard
from prefect_tune.execution.node.memory_guard import (
    MemoryGuard,
    MemoryShare,
    TrialCgroup,
    _find_excess,
)
from prefect_tune.resources import PlacementGroupFactory, Resources
from tests.execution.experiments import Experiment, make_env

#: A process that starts another one, which has 120 MB.
PARENT = (
    "import subprocess, sys\n"
    "code = 'block = bytearray(120_000_000); print(flush=True); input()'\n"
    "subprocess.run([sys.executable, '-c', code])\n"
)


@pytest.fixture
def family():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        parent.stdout.readline()
        yield parent
        parent.stdin.close()


def test_children_count_and_the_total_is_told_once(monkeypatch, family):
    monkeypatch.setattr(memory_guard, "_PERIOD_S", 0.01)
    told, watched = [], asyncio.Event()

    def tell(warning):
        told.append(warning)
        watched.set()

    async def main():
        used = memory_guard._used_by_all(0)
        calm = asyncio.create_task(MemoryGuard(used + 500_000_000, {}, told.append).run())
        assert not (await asyncio.wait({calm}, timeout=0.2))[0]
        assert not told
        watch = asyncio.create_task(MemoryGuard(100_000_000, {}, tell).run())
        await watched.wait()
        await asyncio.sleep(0.1)
        for task in (calm, watch):
            task.cancel()

    asyncio.run(main())
    (warning,) = told
    assert "more than the worker's memory limit" in warning.text


def test_pages_that_forks_share_count_once():
    code = (
        "import os, sys\n"
        "block = b'x' * 80_000_000\n"
        "if os.fork() == 0: os.pause() if hasattr(os, 'pause') else __import__('signal').pause()\n"
        "from prefect_tune.execution.node import memory_guard\n"
        "try: print(memory_guard._used_by_all(0))\n"
        "finally: import psutil; [c.kill() for c in psutil.Process().children()]\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 150_000_000


def test_descendants_of_a_trial_count_towards_its_share(family):
    modest, greedy = MemoryShare(family.pid, 2**40), MemoryShare(family.pid, 100_000_000)
    ((share, error),) = _find_excess([modest, greedy])
    assert share is greedy
    assert error.kind == "memory"
    assert "of memory; its share is 0.1 GB" in error.message


def test_use_of_a_gpu_counts_by_process(nvml, family):
    (child,) = psutil.Process(family.pid).children()
    users = {str(child.pid): 30_000, "1": 60_000, str(family.pid): None}
    nvml({"uuid": "GPU-a", "name": "x", "total": 100_000, "processes": users})
    within, above = (MemoryShare(family.pid, gpus={"GPU-a": most}) for most in (30_000, 29_999))
    ((share, error),) = _find_excess([within, above])
    assert share is above
    assert "of the memory of GPU-a; its share is 3e-05 GB" in error.message


# -- cgroups --------------------------------------------------------------------------------------


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """A file system that looks like that of cgroups, with this process in ``/job``."""
    job = tmp_path / "fs/job"
    job.mkdir(parents=True)
    (tmp_path / "own").write_text("1:name=systemd:/\n0::/job\n")
    (job / "cgroup.controllers").write_text("cpu memory pids\n")
    (job / "cgroup.subtree_control").write_text("")
    (job / "cgroup.procs").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(memory_guard, "_ROOT", tmp_path / "fs")
    monkeypatch.setattr(memory_guard, "_OWN", tmp_path / "own")
    return job


def test_a_trial_gets_a_cgroup_with_its_share(cgroups):
    group = TrialCgroup.create(77, 1000)
    assert group is not None
    made = cgroups / "prefect_tune-trial-77"
    wrote = {name: (made / name).read_text() for name in ("memory.max", "cgroup.procs")}
    assert wrote == {"memory.max": "1000", "cgroup.procs": "77"}
    assert (made / "memory.oom.group").read_text() == "1"
    # The worker has made room for it.
    assert (cgroups / "prefect_tune-worker/cgroup.procs").read_text() == str(os.getpid())
    assert (cgroups / "cgroup.subtree_control").read_text() == "+memory"


def test_a_cgroup_is_removed_once_it_is_empty(cgroups):
    group = TrialCgroup.create(77, 1000)
    assert not group.remove()  # the files of the stand-in keep it, as processes do
    for file in (cgroups / "prefect_tune-trial-77").iterdir():
        file.unlink()
    assert group.remove()
    assert group.remove()


def test_a_worker_that_has_moved_uses_the_cgroup_above(cgroups, tmp_path):
    (tmp_path / "own").write_text("0::/job/prefect_tune-worker\n")
    (cgroups / "cgroup.subtree_control").write_text("memory\n")
    assert TrialCgroup.create(77, 1000) is not None
    assert (cgroups / "prefect_tune-trial-77").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda job, own: own.write_text("4:memory:/job\n"),  # version 1
        lambda job, own: (job / "cgroup.controllers").write_text("cpu\n"),
        lambda job, own: (job / "cgroup.controllers").unlink(),
        lambda job, own: (job / "cgroup.procs").write_text(f"{os.getpid()}\n999999999\n"),
    ],
)
def test_a_cgroup_that_cannot_or_must_not_be_divided_is_left_alone(cgroups, tmp_path, change):
    change(cgroups, tmp_path / "own")
    assert TrialCgroup.create(77, 1000) is None
    assert not (cgroups / "prefect_tune-worker").exists()


def test_the_kernels_kill_is_told_as_the_reason(cgroups):
    group = TrialCgroup.create(77, 2_000_000_000)
    share = MemoryShare(77, 2_000_000_000, group=group)
    assert share.overflow() is None
    events = cgroups / "prefect_tune-trial-77/memory.events"
    events.write_text("low 0\nmax 12\noom 1\noom_kill 0\n")
    assert share.overflow() is None
    events.write_text("low 0\nmax 12\noom 1\noom_kill 3\n")
    assert "needed more memory than its share of 2 GB" in share.overflow().message


# -- trials ---------------------------------------------------------------------------------------


@pytest.fixture
def own_helpers(monkeypatch):
    """The guard looks at the worker's descendants; other tests have helpers that are none."""
    monkeypatch.setattr(helper_process, "subprocess", subprocess)


@pytest.fixture
def cluster(own_helpers):
    init(num_cpus=3, num_gpus=1)
    yield
    shutdown()


def eat(config):
    block = bytearray(config["bytes"])
    tune.report(size=len(block))
    if config["bytes"] > 300_000_000:
        time.sleep(600)


def test_a_trial_above_its_share_fails_and_others_go_on(cluster):
    analysis = tune.run(
        eat,
        config={"bytes": tune.grid_search([1_000_000, 400_000_000])},
        resources_per_trial={"cpu": 1, "memory": 300e6},
        max_failures=1,
        raise_on_failed_trial=False,
        orchestrate=False,
    )
    modest, greedy = analysis.trials
    assert (modest.status, greedy.status) == ("TERMINATED", "ERROR")
    assert greedy.num_failures == 2
    with open(greedy.error_file) as file:
        told = file.read()
    assert "of memory; its share is 0.3 GB" in told
    assert "the trial used 0." in told


def test_a_share_may_depend_on_the_configuration(cluster):
    analysis = tune.run(
        tune.with_resources(eat, lambda config: {"cpu": 1, "memory": config["share"]}),
        config={"bytes": 1_000_000, "share": tune.grid_search([300e6, 1e9])},
        orchestrate=False,
    )
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2


def take_gpu_memory(config):
    import json

    with open(os.environ["FAKE_NVML"]) as file:
        gpus = json.load(file)
    gpus[0]["processes"] = {str(os.getpid()): 60_000_000_000}
    with open(os.environ["FAKE_NVML"] + ".next", "w") as file:
        json.dump(gpus, file)
    os.replace(os.environ["FAKE_NVML"] + ".next", os.environ["FAKE_NVML"])
    time.sleep(config["seconds"])


@pytest.mark.parametrize("guard", [True, False])
def test_gpu_memory_is_watched_if_asked_for(nvml, monkeypatch, tmp_path, own_helpers, guard):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml({"uuid": "GPU-a", "name": "NVIDIA H200", "total": 100_000_000_000})
    init(num_cpus=1, num_gpus=1)
    try:
        env = make_env(take_gpu_memory, tmp_path, gpu_memory_guard=guard)
        with Experiment(DaskExecutor(connect()), env) as run:
            options = {"resources": Resources.of(CPU=1, GPU=0.5), "devices": ("0",)}
            _, end = run.run("t", {"seconds": 600 if guard else 2.5}, **options)
    finally:
        shutdown()
    if guard:
        assert end.outcome is Outcome.FAILED
        assert "used 60 GB of the memory of GPU-a; its share is 50 GB" in end.error.message
    else:
        assert end.outcome is Outcome.FINISHED


def test_gpus_that_cannot_be_watched_are_told_of(monkeypatch, tmp_path, caplog, cluster):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if not installed
    env = make_env(eat, tmp_path, gpu_memory_guard=True)
    with Experiment(DaskExecutor(connect()), env) as run:
        run.run("t", {"bytes": 1})
    assert "Is nvidia-ml-py installed there?" in caplog.text


def hold(amount):
    block = bytearray(amount)
    time.sleep(600)
    return len(block)


def in_a_bundle(config):
    with pytest.raises(TrialWorkerFailed, match=r"its share is 0\.2 GB"):
        tune.trial_workers()[1].start(hold, 300_000_000).result(60)
    tune.report(ok=True)


def test_a_function_above_the_share_of_its_bundle_ends(cluster):
    analysis = tune.run(
        in_a_bundle,
        resources_per_trial=PlacementGroupFactory([{"CPU": 1}, {"CPU": 1, "memory": 2e8}]),
        orchestrate=False,
    )
    assert analysis.trials[0].last_result["ok"]
