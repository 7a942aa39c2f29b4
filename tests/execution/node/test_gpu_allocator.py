"""GPUs that workers of one host divide among themselves, and attempts on one worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.execution.cluster.gpus import Device
from prefect_tune.execution.node.gpu_allocator import GpuAllocator, GpuClaims
from prefect_tune.resources import Resources

ZERO, ONE = Device("0", "GPU-a"), Device("1", "GPU-b")


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_workers_of_one_cluster_have_different_gpus():
    first, second, third = (GpuClaims("tcp://s:1") for _ in range(3))
    assert first.claim((ZERO, ONE), 1) == (ZERO,)
    assert second.claim((ZERO, ONE), 1) == (ONE,)
    assert third.claim((ZERO, ONE), 1) == ()
    first.release()
    assert third.claim((ZERO, ONE), 2) == (ZERO,)
    assert GpuClaims("tcp://other:1").claim((ZERO, ONE), 2) == (ZERO, ONE)


def test_the_first_of_a_rotated_list_is_claimed():
    assert GpuClaims("tcp://s:1").claim((ONE, ZERO), 1) == (ONE,)
    assert GpuClaims("tcp://s:1").claim((ZERO, ONE), 1) == (ZERO,)


def test_workers_that_declare_a_share_share():
    claims = [GpuClaims("tcp://s:1") for _ in range(3)]
    assert claims[0].claim((ZERO, ONE), 0.5) == (ZERO,)
    assert claims[1].claim((ZERO, ONE), 0.5) == (ZERO,)
    assert claims[2].claim((ZERO, ONE), 1) == (ONE,)


def test_a_killed_worker_gives_up_its_gpus(tmp_path):
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from prefect_tune.execution.cluster.gpus import Device\n"
        "from prefect_tune.execution.node.gpu_allocator import GpuClaims\n"
        "claims = GpuClaims('tcp://s:1')\n"
        "print(len(claims.claim((Device('0', 'GPU-a'),), 1)), flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "1\n"
        assert GpuClaims("tcp://s:1").claim((ZERO,), 1) == ()
        other.kill()
    assert GpuClaims("tcp://s:1").claim((ZERO,), 1) == (ZERO,)


def test_files_of_workers_that_have_gone_are_removed(tmp_path):
    for cluster in ("tcp://s:1", "tcp://s:2"):
        claims = GpuClaims(cluster)
        claims.claim((ZERO, ONE), 2)
        claims.release()
        assert not list(tmp_path.rglob("*.gpu"))
    (folder,) = tmp_path.iterdir()
    (folder / "killed.gpu").touch()
    claims.claim((ZERO,), 1)
    assert [path.name for path in folder.glob("*.gpu") if path.name == "killed.gpu"] == []


def test_without_a_place_for_locks_gpus_are_used_undivided(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert GpuClaims("tcp://s:1").claim((ZERO, ONE), 1) == (ZERO,)
    assert "GPUs are not divided" in caplog.text


def slot(gpu, *devices):
    return Slot("tcp://n:1", Resources.of(GPU=gpu), devices)


def test_the_coordinators_choice_is_taken_if_it_is_free():
    async def main():
        ledger = GpuAllocator(("0", "1", "2"))
        assert await ledger.acquire(slot(0.5, "1")) == slot(0.5, "1")
        assert await ledger.acquire(slot(0.5, "1")) == slot(0.5, "1")
        assert (await ledger.acquire(slot(0.5, "1"))).devices != ("1",)
        assert await ledger.acquire(slot(0)) == slot(0)

    asyncio.run(main())


def test_whole_devices_wait_until_enough_are_free():
    async def main():
        ledger = GpuAllocator(("0", "1"))
        taken = await ledger.acquire(slot(0.5, "0"))
        waiting = asyncio.create_task(ledger.acquire(slot(2, "0", "1")))
        await asyncio.sleep(0)
        assert not waiting.done()
        await ledger.release(taken)
        assert sorted((await waiting).devices) == ["0", "1"]

    asyncio.run(main())
