"""Sweeps as steps of pipelines: in async flows, and of steps of pipelines themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidTrainable

from . import trainables
from .served import poll


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


def events_of(client: Any, flow_run_id: UUID, name: str) -> list[dict[str, Any]]:
    which = {
        "event": {"name": [name]},
        "resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    found = client.request("POST", "/events/filter", json={"filter": which}).json()
    events: list[dict[str, Any]] = found["events"]
    return events


def test_a_coroutine_awaits_a_sweep_while_its_loop_goes_on(cluster: None, tmp_path: Path) -> None:
    async def scenario() -> None:
        turns = 0

        async def other_work() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(other_work())
        analysis = await tune.arun(
            trainables.quadratic,
            config={"x": tune.grid_search([0.0, 0.3])},
            storage_path=str(tmp_path),
            orchestrate=False,
            verbose=0,
        )
        other.cancel()
        assert len(analysis.trials) == 2
        assert turns > 100
        with pytest.raises(tune.TuneError, match="mode"):
            await tune.arun(trainables.quadratic, metric="score", mode="biggest", orchestrate=False)

    asyncio.run(scenario())


def endless(config: dict[str, Any]) -> None:
    while True:
        time.sleep(0.02)
        tune.report({"score": 1.0})


class Begun(tune.Callback):
    def __init__(self, loop: Any, event: asyncio.Event) -> None:
        self.loop, self.event = loop, event

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        self.loop.call_soon_threadsafe(self.event.set)


def test_cancelling_the_task_that_awaits_a_sweep_ends_it_in_order(
    cluster: None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        begun = asyncio.Event()
        sweep = asyncio.create_task(
            tune.arun(
                endless,
                name="endless",
                callbacks=[Begun(asyncio.get_running_loop(), begun)],
                storage_path=str(tmp_path),
                orchestrate=False,
                verbose=0,
            )
        )
        await begun.wait()
        sweep.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweep
        (trial,) = tune.ExperimentAnalysis(str(tmp_path / "endless")).trials
        assert trial.last_result["score"] == 1.0
        assert trial.status == "PENDING", "it can be resumed"

    asyncio.run(scenario())


def test_the_result_of_a_flow_run_can_be_read_later_and_elsewhere(
    client: Any, cluster: None, tmp_path: Path
) -> None:
    from prefect_tune.flows import SweepResult, tune_experiment

    state = tune_experiment(
        trainable="tests.integration.trainables:saves_its_last",
        space={"x": {"grid_search": [1.0, 2.0]}, "fixed": {"depth": 3}},
        metric="score",
        mode="max",
        name="typed",
        budget={"trials": 1},
        storage=str(tmp_path),
        return_state=True,
    )
    flow_run = client.read_flow_run(state.state_details.flow_run_id)
    result = flow_run.state.result()
    assert isinstance(result, SweepResult)
    assert result == state.result()
    assert result.best_config == {"x": 2.0, "fixed": {"depth": 3}}
    assert result.best_value == result.best_metrics["score"] == 2.0
    assert (result.trials, result.failed, result.counts) == (2, 0, {"TERMINATED": 2})
    assert result.directory == str(tmp_path / "typed")
    assert result.checkpoint is not None
    assert Path(result.checkpoint, "weights").is_file()
    assert result.flow_run_id == str(flow_run.id)
    assert json.loads(result.model_dump_json())["mode"] == "max"
    (ended,) = poll(lambda: events_of(client, flow_run.id, "prefect-tune.sweep.ended"))
    assert ended["payload"]["status"] == "completed"
    assert ended["payload"]["best_config"] == result.best_config
    assert {related["prefect.resource.role"] for related in ended["related"]} >= {"flow"}
    assert events_of(client, flow_run.id, "prefect-tune.sweep.started")
    assert events_of(client, flow_run.id, "prefect-tune.sweep.improved")


def test_a_flow_is_tuned_whose_runs_belong_to_the_sweep(
    client: Any, cluster: None, tmp_path: Path
) -> None:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
    )

    from . import pipeline_steps

    analysis = tune.run(
        pipeline_steps.train,
        config={"x": tune.grid_search([1.0, 2.0, 3.0])},
        metric="score",
        mode="max",
        storage_path=str(tmp_path),
        verbose=0,
        orchestrate=True,
    )
    assert analysis.best_config == {"x": 3.0}
    assert analysis.best_result["score"] == 6.0
    assert analysis.flow_run_id is not None
    below = FlowRunFilterParentFlowRunId(any_=[UUID(analysis.flow_run_id)])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=below))
    assert [run.state_name for run in runs] == ["Completed"] * 3


def test_a_deployment_that_does_not_exist_is_refused_before_any_trial(
    prefect_api: str, cluster: None, tmp_path: Path
) -> None:
    with pytest.raises(InvalidTrainable, match="no deployment 'train/prod'"):
        tune.run(tune.deployment("train/prod"), storage_path=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_tuner_is_made_of_plain_data(cluster: None, tmp_path: Path) -> None:
    spec = {
        "trainable": "tests.integration.trainables:quadratic",
        "space": {"x": {"grid_search": [0.0, 0.3]}},
        "metric": "score",
        "mode": "max",
        "name": "spec",
        "budget": {"trials": 2, "concurrency": 3, "failures": 1},
        "resources": {"cpu": 2},
        "storage": str(tmp_path),
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(spec))  # YAML is a superset of JSON
    for given in (spec, file):
        tuner = tune.Tuner.from_spec(given)
        request = tuner._request
        assert request.tune_config.num_samples == 2
        assert request.tune_config.max_concurrent_trials == 3
        assert request.run_config.failure_config is not None
        assert request.run_config.failure_config.max_failures == 1
        assert request.resources_per_trial == {"cpu": 2, "gpu": 0}
        assert request.run_config.name == "spec"
    request.run_config.orchestrate = False
    results = tuner.fit()
    assert len(results) == 4
    best = results.get_best_result()
    assert best.config == {"x": 0.3}
    with pytest.raises(tune.TuneError, match="spec"):
        tune.Tuner.from_spec(3)
