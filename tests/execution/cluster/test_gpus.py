"""GPU ids, and who gets which."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.execution.cluster.gpus import slots, visible_gpus
from prefect_tune.execution.node.gpu_allocator import GpuAllocator


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        ("", ()),
        ("-1", ()),
        ("0", ("0",)),
        ("2, 0", ("2", "0")),
        ("0,-1,1", ("0",)),
        ("GPU-8932f937,MIG-GPU-1/2/0", ("GPU-8932f937", "MIG-GPU-1/2/0")),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(monkeypatch, variable, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == ids


def test_slots_prefer_real_devices():
    assert slots(2, ("3", "5", "7")) == ("3", "5")
    assert slots(0.5, ("3",)) == ("3",)
    assert slots(0, ("3",)) == ()


@given(st.floats(0, 16), st.lists(st.integers(0, 20).map(str), unique=True, max_size=8))
def test_as_many_different_slots_as_declared(declared, visible):
    ids = slots(declared, tuple(visible))
    assert len(ids) == len(set(ids)) >= declared


def test_the_coordinators_choice_is_taken_if_it_is_free():
    async def main():
        ledger = GpuAllocator(("0", "1", "2"))
        assert await ledger.acquire(("1",), 0.5) == ("1",)
        assert await ledger.acquire(("1",), 0.5) == ("1",)
        assert await ledger.acquire(("1",), 0.5) != ("1",)
        assert await ledger.acquire((), 0) == ()

    asyncio.run(main())


def test_whole_devices_wait_until_enough_are_free():
    async def main():
        ledger = GpuAllocator(("0", "1"))
        taken = await ledger.acquire(("0",), 0.5)
        waiting = asyncio.create_task(ledger.acquire(("0", "1"), 2))
        await asyncio.sleep(0)
        assert not waiting.done()
        await ledger.release(taken, 0.5)
        assert sorted(await waiting) == ["0", "1"]

    asyncio.run(main())
