"""A sweep notices that the flow run or task around it is over or out of time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.orchestration.control.flow_watch import FlowWatch

pytestmark = pytest.mark.usefixtures("prefect_api")
_NO_COORDINATOR: Coordinator = None  # type: ignore[assignment]


class Sweep:
    """Goes on until it is told to end; the time limit of the test bounds it."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, bool]] = []
        self.began = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> None:
        watch = FlowWatch(lambda why, late: self.ends.append((why, late)))
        with watch.guarding():
            self.began.set()
            while not self.ends:
                watch(_NO_COORDINATOR)
                time.sleep(0.01)
            self.ended.set()


@pytest.fixture
def sweep() -> Sweep:
    return Sweep()


def limited_flow(sweep: Sweep) -> Callable[..., Any]:
    return flow(timeout_seconds=0.5)(lambda: sweep())


def limited_async_flow(sweep: Sweep) -> Callable[..., Any]:
    @flow(timeout_seconds=0.5)
    async def limited() -> None:
        sweep()

    return lambda **options: asyncio.run(limited(**options))


@pytest.mark.parametrize("make", [limited_flow, limited_async_flow])
def test_a_time_limit_ends_a_sweep_in_order_and_then_its_flow(
    sweep: Sweep, make: Callable[[Sweep], Callable[..., State[Any]]]
) -> None:
    state = make(sweep)(return_state=True)
    assert sweep.ends == [("the time limit of the flow run is up", True)]
    assert sweep.ended.is_set(), "it was cut off"
    assert (state.name, state.type.value) == ("TimedOut", "FAILED")


def test_a_time_limit_of_a_submitted_task_does_too(sweep: Sweep) -> None:
    limited = task(timeout_seconds=0.5)(lambda: sweep())

    @flow
    def outer() -> str:
        future = limited.submit()
        future.wait()
        return str(future.state.name)

    name = outer()
    assert sweep.ends == [("the time limit of the task run is up", True)]
    assert sweep.ended.is_set(), "it was cut off"
    assert name == "TimedOut"


def test_a_sweep_in_a_task_ends_with_its_flow_run(sweep: Sweep) -> None:
    submitted = task(lambda: sweep())

    @flow
    def outer() -> None:
        submitted.submit()
        assert sweep.began.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert sweep.ends == [("the flow run has ended", False)]


def test_a_sweep_that_its_flow_run_has_left_behind_ends(sweep: Sweep) -> None:
    @flow
    async def outer() -> None:
        asyncio.get_running_loop().run_in_executor(None, copied(sweep))
        await asyncio.to_thread(sweep.began.wait, 60)

    asyncio.run(outer())
    assert sweep.ends == [("the flow run has ended", False)]


def copied(sweep: Sweep) -> Callable[[], None]:
    context = contextvars.copy_context()
    return lambda: context.run(sweep)


def test_outside_of_flows_there_is_nothing_to_watch() -> None:
    ends: list[Any] = []
    watch = FlowWatch(lambda why, late: ends.append(why))
    watch(_NO_COORDINATOR)
    assert ends == []
