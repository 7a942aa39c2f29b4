"""Sweeps with trial processes on a Dask cluster, recorded by a real Prefect server."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import prefect_tune as tune

from ..warm_python import start_script
from . import trainables


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def recorded_sweep(prefect_api: str, cluster: None, tmp_path: Path) -> Any:
    """`tune.run` on a cluster of four CPUs, with Prefect."""
    return partial(
        tune.run,
        storage_path=str(tmp_path),
        verbose=0,
        orchestrate=True,
        metric="score",
        mode="max",
    )


def task_runs(client: Any, flow_run_id: str) -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    which = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    return client.read_task_runs(flow_run_filter=which, limit=200)


def sometimes(config: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Improves with `x`; fails if it is above 0.9."""
    for step in range(1, 9):
        if config["x"] > 0.9 and step == 2:
            raise ValueError("x is too large")
        yield {"score": config["x"] * step}


def test_sixty_trials_under_asha_are_all_recorded(recorded_sweep: Any, client: Any) -> None:
    space = {"x": tune.grid_search([i / 60 for i in range(60)])}
    analysis = recorded_sweep(
        sometimes,
        config=space,
        scheduler=tune.schedulers.ASHAScheduler(max_t=8, grace_period=1, reduction_factor=2),
        raise_on_failed_trial=False,
    )
    runs = task_runs(client, analysis.flow_run_id)
    trials = [run for run in runs if run.name != "coordinator"]
    assert {run.name for run in trials} == {str(trial) for trial in analysis.trials}
    failed = [trial for trial in analysis.trials if trial.status == "ERROR"]
    states = collections.Counter(run.state_name for run in trials)
    assert states["Failed"] == len(failed) > 0
    assert states["Stopped"] > 0
    assert states["Completed"] + states["Stopped"] + states["Failed"] == 60
    message = next(run.state.message for run in trials if run.state_name == "Failed")
    assert message.startswith("ValueError: x is too large")
    assert "Traceback" in message


def test_the_flow_run_ends_with_the_best_config(recorded_sweep: Any, client: Any) -> None:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    analysis = recorded_sweep(
        trainables.quadratic, config={"x": tune.grid_search([0.0, 0.3, 1.0])}, name="exp"
    )
    flow_run = client.read_flow_run(UUID(analysis.flow_run_id))
    assert flow_run.name == "exp"
    assert flow_run.state.name == "Completed"
    assert flow_run.state.message.endswith("with x=0.3")
    assert flow_run.parameters["trainable"].endswith("trainables:quadratic")
    assert flow_run.parameters["num_samples"] == 1
    which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    artifacts = {one.key: one for one in client.read_artifacts(artifact_filter=which)}
    assert {"exp-trials-done", "exp-leaderboard", "exp-summary"} <= set(artifacts)


def test_a_retried_trial_is_a_second_task_run(recorded_sweep: Any, client: Any) -> None:
    analysis = recorded_sweep(
        sometimes, config={"x": 0.95}, max_failures=1, raise_on_failed_trial=False
    )
    names = {run.name for run in task_runs(client, analysis.flow_run_id)}
    (trial,) = analysis.trials
    assert names == {"coordinator", str(trial), f"{trial} attempt 2"}


def test_errors_of_the_sweep_reach_the_caller_unchanged(recorded_sweep: Any) -> None:
    with pytest.raises(tune.TuneError, match="no_such_metric"):
        recorded_sweep(trainables.quadratic, config={"x": 0.5}, metric="no_such_metric")


def own_prefect(config: dict[str, Any]) -> dict[str, float]:
    """Says whether Prefect has been loaded in the trial process."""
    return {"score": float("prefect" in sys.modules)}


def test_trial_processes_know_nothing_of_prefect(recorded_sweep: Any) -> None:
    analysis = recorded_sweep(own_prefect, config={})
    assert analysis.trials[0].last_result["score"] == 0.0


def uses_prefect(config: dict[str, Any]) -> dict[str, Any]:
    """Logs and asks as any Prefect task does, without a route to the API."""
    os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    from prefect import get_run_logger, runtime

    get_run_logger().warning("x is %s", config["x"])
    return {"score": 1.0, "flow_run": runtime.flow_run.id, "task_run": runtime.task_run.id}


def test_a_trainable_has_the_context_of_its_task_run(recorded_sweep: Any, client: Any) -> None:
    from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId
    from prefect.logging.handlers import APILogWorker

    analysis = recorded_sweep(uses_prefect, config={"x": tune.grid_search([1, 2])})
    runs = {run.name: run for run in task_runs(client, analysis.flow_run_id)}
    APILogWorker.drain_all(timeout=20, at_exit=False)
    for trial in analysis.trials:
        result, run = trial.last_result, runs[str(trial)]
        assert result["flow_run"] == analysis.flow_run_id
        assert result["task_run"] == str(run.id)
        of_task_run = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id]))
        lines = [(log.level, log.message) for log in client.read_logs(of_task_run)]
        assert lines == [(30, f"x is {trial.config['x']}")]


def counts_the_running(config: dict[str, Any]) -> dict[str, int]:
    """How many trials run, this one included; it lasts until the others would have begun."""
    running = Path(config["directory"])
    mine = running / str(os.getpid())
    mine.touch()
    time.sleep(0.5)
    most = len(list(running.iterdir()))
    mine.unlink()
    return {"score": most}


def test_no_more_trials_run_than_the_limit_of_a_tag_says(
    recorded_sweep: Any, client: Any, tmp_path: Path
) -> None:
    from prefect import tags

    (tmp_path / "running").mkdir()
    client.create_concurrency_limit("two-at-a-time", 2)
    with tags("two-at-a-time"):
        analysis = recorded_sweep(
            counts_the_running, config={"directory": str(tmp_path / "running")}, num_samples=6
        )
    assert max(trial.last_result["score"] for trial in analysis.trials) <= 2
    runs = task_runs(client, analysis.flow_run_id)
    assert {run.state_name for run in runs} == {"Completed"}


def test_without_prefect_it_is_never_imported(tmp_path: Path) -> None:
    code = """if True:
        import sys
        import prefect_tune as tune

        tune.run(lambda config: {"a": 1}, config={}, storage_path="results", verbose=0)
        print("prefect" in sys.modules)
    """
    environment = {**os.environ, "PREFECT_TUNE_ORCHESTRATE": "0"}
    out = subprocess.check_output(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True
    )
    assert out.splitlines()[-1] == "False"


def test_sigterm_ends_the_flow_run_in_order(prefect_api: str, client: Any, tmp_path: Path) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    script = tmp_path / "script.py"
    script.write_text(
        """if True:
        import time
        import prefect_tune as tune

        def train(config):
            tune.report({"score": 1.0})
            print("reported", flush=True)
            while True:
                time.sleep(0.02)
                tune.report({"score": 1.0})

        class Told(tune.Callback):
            def on_trial_result(self, **info):
                print("result", flush=True)

        if __name__ == "__main__":
            tune.run(train, config={}, name="terminated", storage_path="results", verbose=0,
                     callbacks=[Told()])
        """
    )
    process = start_script(
        [sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "result" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    named = FlowRunFilter(name=FlowRunFilterName(any_=["terminated"]))
    (flow_run,) = client.read_flow_runs(flow_run_filter=named)
    assert flow_run.state.name == "Interrupted"
    runs = task_runs(client, str(flow_run.id))
    assert len(runs) == 2
    assert all(run.state.is_final() for run in runs)
    assert list((tmp_path / "results" / "terminated").glob("*/result.json"))


def test_tasks_of_a_pipeline_run_on_the_same_cluster(prefect_api: str, cluster: None) -> None:
    import dask
    from prefect import flow, task

    from prefect_tune.orchestration.record.task_runner import BodyTaskRunner

    @task
    def gpus() -> dict[str, float]:
        from distributed import get_worker

        return dict(get_worker().state.total_resources)

    @task
    def add(a: int, b: int) -> int:
        return a + b

    @flow(task_runner=BodyTaskRunner.on())
    def pipeline() -> tuple[list[int], Any, Any]:
        sums = add.map([1, 2, 3], 10).result()
        with dask.annotate(resources={"CPU": 1}):
            declared = gpus.submit().result()
        with dask.annotate(resources={"TPU": 1}):
            impossible = gpus.submit(return_state=True)
        return sums, declared, impossible.message

    sums, declared, message = pipeline()
    assert sums == [11, 12, 13]
    assert declared["CPU"] >= 1
    assert "TPU" in message


class Endless(tune.Trainable):
    def step(self) -> dict[str, float]:
        time.sleep(0.05)
        return {"score": 1.0}

    def save_checkpoint(self, directory: str) -> dict[str, float]:
        return {"score": 1.0}


def test_a_time_limit_ends_a_sweep_that_is_not_recorded_in_order(
    recorded_sweep: Any, tmp_path: Path
) -> None:
    from prefect import flow

    @flow(timeout_seconds=15)
    def limited() -> None:
        recorded_sweep(Endless, name="sweep", orchestrate=False, checkpoint_at_end=True)

    state = limited(return_state=True)
    assert state.name == "TimedOut"
    (trial,) = tune.ExperimentAnalysis(str(tmp_path / "sweep")).trials
    assert trial.checkpoint, "it was cut off"
