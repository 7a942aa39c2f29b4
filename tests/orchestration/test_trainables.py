"""Prefect's flows, tasks and deployments as trainables; without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.states import Cancelling, Completed, Failed, Running

from prefect_tune.error import InvalidArgument, InvalidTrainable, TuneError
from prefect_tune.orchestration import trainables
from prefect_tune.orchestration.trainables import deployment, wrap_prefect_trainable
from prefect_tune.trainable.runtime.attempt import TrialStopped


@flow
def train(lr: float, depth: int = 1) -> dict[str, float]:
    return {"score": lr * depth}


@task
def whole(config: dict[str, Any]) -> float:
    return float(config["lr"])


@pytest.mark.parametrize("step", [train, whole])
def test_a_step_is_a_trainable_named_like_its_function(step: Any) -> None:
    made = wrap_prefect_trainable(step, {"lr": 0.1})
    assert made.__name__ == step.fn.__name__


def test_a_space_that_a_flow_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidTrainable, match=r"train\(lr: .*missing a required argument: 'lr'"):
        wrap_prefect_trainable(train, {"rate": 0.1})
    with pytest.raises(InvalidTrainable, match="unexpected keyword argument 'rate'"):
        wrap_prefect_trainable(train, {"lr": 1, "rate": 1})


def test_other_trainables_stay_as_they_are() -> None:
    def function(config: dict[str, Any]) -> None: ...

    assert wrap_prefect_trainable(function, {}) is function


class Server:
    """A run of a deployment whose states and table artifact are told beforehand."""

    def __init__(self, states: list[Any], tables: list[list[Any]]) -> None:
        self.states, self.tables = states, tables
        self.asked: dict[str, Any] = {}
        self.set: list[Any] = []

    def run(self, name: str, *, parameters: dict[str, Any], timeout: int) -> Any:
        self.asked = parameters
        return SimpleNamespace(id=uuid4())

    @contextmanager
    def client(self, **_: Any) -> Iterator[Any]:
        yield self

    def read_flow_run(self, _: Any) -> Any:
        return SimpleNamespace(state=self.states.pop(0), name="bold-cat")

    def read_artifacts(self, **_: Any) -> list[Any]:
        table = self.tables.pop(0)
        return [SimpleNamespace(data=json.dumps(table))] if table else []

    def set_flow_run_state(self, _: Any, state: Any) -> None:
        self.set.append(state)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    def serve(states: list[Any], tables: list[list[Any]] | None = None) -> Server:
        server = Server(states, tables or [])
        monkeypatch.setattr(trainables, "run_deployment", server.run)
        monkeypatch.setattr(trainables, "get_client", server.client)
        return server

    return serve


def test_the_result_of_a_deployments_run_is_the_trials(served: Any) -> None:
    server = served([Running(), Completed(data={"score": 1.0})])
    assert deployment("train/prod", {"depth": 2}, poll_s=0.01)({"lr": 0.1}) == {"score": 1.0}
    assert server.asked == {"depth": 2, "lr": 0.1}
    assert not server.set


def test_new_rows_of_its_artifact_are_results(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"loss": loss} for loss in (3.0, 2.0, 1.0)]
    reported: list[Any] = []
    monkeypatch.setattr(trainables, "report", reported.append)
    served([Running(), Running(), Completed()], [[], rows[:1], rows])
    deployment("train/prod", metrics="epochs", poll_s=0.01)({})
    assert reported == rows


def test_a_trial_that_is_stopped_cancels_its_run(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Any) -> None:
        raise TrialStopped

    monkeypatch.setattr(trainables, "report", stop)
    server = served([Running()], [[{"loss": 1.0}]])
    with pytest.raises(TrialStopped):
        deployment("train/prod", metrics="epochs", poll_s=0.01)({})
    (state,) = server.set
    assert state.type == Cancelling().type


def test_a_run_that_fails_fails_its_trial(served: Any) -> None:
    served([Failed(message="no GPU")])
    with pytest.raises(TuneError, match=r"train/prod \(bold-cat\) did not complete.*no GPU"):
        deployment("train/prod")({})


def test_a_result_that_is_not_persisted_says_what_to_do(served: Any) -> None:
    served([Completed()])
    with pytest.raises(TuneError, match=r"not persisted.*persist_result=True"):
        deployment("train/prod")({})


def test_what_cannot_be_a_deployment_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="flow/deployment"):
        deployment("prod")
    with pytest.raises(InvalidArgument, match="poll_s"):
        deployment("train/prod", poll_s=0)
