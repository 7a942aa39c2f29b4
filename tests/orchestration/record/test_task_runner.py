"""General tasks on the body task runner, against a real Prefect server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from distributed.scheduler import KilledWorker
from prefect import flow, get_client, task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Completed

from prefect_tune.orchestration.record.task_runner import BodyTaskRunner
from tests.orchestration.fakes import FakeExecutor

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def executor() -> Iterator[FakeExecutor]:
    executor = FakeExecutor()
    yield executor
    executor.close()


@task
def add(a: int, b: int) -> int:
    return a + b


@task
async def square(x: int) -> int:
    await asyncio.sleep(0)
    return x * x


@task
def where() -> tuple[str, bool]:
    return threading.current_thread().name, TaskRunContext.get() is None


@task
def fail() -> None:
    raise ValueError("boom")


@task
def leave() -> None:
    raise SystemExit(3)


def test_submit_map_and_futures_as_arguments(executor: FakeExecutor) -> None:
    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> tuple[int, list[int]]:
        first = add.submit(1, 2)
        total = add.submit(first, first)
        return total.result(), square.map([1, 2, first]).result()

    assert pipeline() == (6, [1, 4, 9])


def test_an_async_flow(executor: FakeExecutor) -> None:
    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    async def pipeline() -> int:
        return add.submit(square.submit(2), 1).result()

    assert asyncio.run(pipeline()) == 5


def test_bodies_run_elsewhere_without_prefect(executor: FakeExecutor) -> None:
    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> tuple[str, bool]:
        return where.submit().result()

    thread, no_context = pipeline()
    assert thread.startswith("ThreadPoolExecutor")
    assert no_context


def test_dask_annotations_reach_the_cluster(executor: FakeExecutor) -> None:
    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> None:
        with dask.annotate(resources={"GPU": 1}, workers=["a"]):
            futures = square.map([1, 2])
        [future.result() for future in [*futures, square.submit(3)]]

    pipeline()
    annotated = {"resources": {"GPU": 1}, "workers": ["a"]}
    assert sorted(executor.bodies, key=len) == [{}, annotated, annotated]


def test_failures_and_lost_workers_become_states(executor: FakeExecutor) -> None:
    def lost(*_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(KilledWorker("add", SimpleNamespace(address="tcp://10.0.0.1"), 3))
        return future

    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> list[Any]:
        states = [future.submit(return_state=True) for future in (fail, leave)]
        with BodyTaskRunner(lost) as runner:
            future = runner.submit(add, {"a": 1, "b": 2})
            future.wait()
        return Completed(data=[*states, future.state])  # type: ignore[return-value]

    failed, left, lost_state = pipeline()
    assert failed.is_failed()
    assert "boom" in failed.message
    assert left.is_crashed()
    assert lost_state.is_crashed()
    assert "tcp://10.0.0.1" in lost_state.message


def test_retries_run_the_body_again(executor: FakeExecutor) -> None:
    calls: list[int] = []

    @task(retries=2)
    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError
        return len(calls)

    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> int:
        return flaky.submit().result()

    assert pipeline() == 3


def test_task_runs_are_drawn_inside_the_task_that_submits_them(executor: FakeExecutor) -> None:
    @task
    def coordinator() -> str:
        future = add.submit(1, 2)
        future.wait()
        return f"{TaskRunContext.get().task_run.id} {future.state.state_details.task_run_id}"

    @flow(task_runner=BodyTaskRunner(executor.submit_body))
    def pipeline() -> tuple[str, Any]:
        return coordinator(), FlowRunContext.get().flow_run.id

    ids, flow_run_id = pipeline()
    parent, child = ids.split()
    with get_client(sync_client=True) as client:
        task_run = _recorded(client, child)
    assert [str(run.id) for run in task_run.task_inputs["__parents__"]] == [parent]
    assert task_run.flow_run_id == flow_run_id


def _recorded(client: Any, task_run_id: str) -> Any:
    """The task run once the server has recorded it; the test's time limit bounds the wait."""
    from prefect.exceptions import ObjectNotFound

    while True:
        try:
            return client.read_task_run(task_run_id)
        except ObjectNotFound:
            threading.Event().wait(0.1)


def test_a_terminated_flow_does_not_wait_for_its_tasks() -> None:
    never: Future[Any] = Future()

    @flow(task_runner=BodyTaskRunner(lambda *_: never))
    def pipeline() -> None:
        add.submit(1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline()
    assert never.cancelled()
