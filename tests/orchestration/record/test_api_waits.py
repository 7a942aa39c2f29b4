"""A Prefect API that is away when a sweep ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow, get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.states import Completed, Running

from prefect_tune.orchestration.record import api_waits
from prefect_tune.orchestration.record.api_waits import FinalStateSetter, await_api


@task
def attempt() -> None: ...


REFUSED = httpx.ConnectError("refused")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """What the API says, one after the other; in the end it answers."""
    to_come: list[Exception | None] = []
    monkeypatch.setattr(api_waits, "api_problem", lambda: to_come.pop(0) if to_come else None)
    monkeypatch.setattr(api_waits, "_POLL_S", 0.0)
    monkeypatch.setattr(api_waits, "_LATE_POLL_S", 0.0)
    return to_come


def test_it_is_waited_for(
    answers: list[Exception | None], caplog: pytest.LogCaptureFixture
) -> None:
    answers += [REFUSED, REFUSED]
    assert await_api(REFUSED, 60) is None
    assert answers == []
    assert sum("is recorded when it is back" in line for line in caplog.messages) == 1


def test_it_is_not_waited_for_without_end(answers: list[Exception | None]) -> None:
    later = httpx.ConnectError("still refused")
    answers += [later] * 1_000_000
    assert await_api(REFUSED, 0.05) is later


def test_one_that_answers_with_an_error_is_not_waited_for(answers: list[Exception | None]) -> None:
    request = httpx.Request("GET", "http://api")
    refusal = httpx.HTTPStatusError("no", request=request, response=httpx.Response(401))
    assert await_api(refusal, 60) is refusal


@pytest.fixture
def client(prefect_api: str) -> Any:
    with get_client(sync_client=True) as client:
        yield client


def left_running(client: SyncPrefectClient) -> UUID:
    """A flow run whose end has not been recorded."""

    @flow
    def sweep() -> UUID:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        return context.flow_run.id

    flow_run_id = sweep()
    client.set_flow_run_state(flow_run_id, Running(), force=True)
    return flow_run_id


def until(condition: Callable[[], bool]) -> None:
    """The time limit of the test bounds it."""
    while not condition():
        pass


def test_a_flow_run_gets_its_end_when_the_api_is_back(
    answers: list[Exception | None], client: SyncPrefectClient
) -> None:
    flow_run_id = left_running(client)
    trial = client.create_task_run(attempt, flow_run_id, dynamic_key="1", state=Running())
    lost = client.create_task_run(attempt, flow_run_id, dynamic_key="2", state=Running())
    answers += [REFUSED, REFUSED]
    ending = FinalStateSetter(
        flow_run_id, Completed(message="best"), {trial.id: Completed(name="Ours")}
    )
    until(ending.over.is_set)
    state = client.read_flow_run(flow_run_id).state
    assert state is not None
    assert (state.name, state.message) == ("Completed", "best")
    ends = [client.read_task_run(run.id).state_name for run in (trial, lost)]
    assert ends == ["Ours", "Crashed"]
