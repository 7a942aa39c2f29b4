"""What a person sees in Prefect of trials that fail, pause, are killed or lost."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import prefect_tune as tune
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def recorded_sweep(prefect_api: str, tmp_path: Path) -> Any:
    return partial(
        tune.run,
        storage_path=str(tmp_path),
        verbose=0,
        orchestrate=True,
        metric="count",
        mode="max",
        stop={"count": 6},
        checkpoint_freq=1,
    )


class Counting(tune.Trainable):
    """Counts, and does at 3 what its configuration says, the first time."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0
        self.restored = False
        if config["mishap"] == "hang at once":
            time.sleep(1000)

    def step(self) -> dict[str, float]:
        self.count += 1
        if self.count == 3 and not self.restored:
            self.mishap(self.config["mishap"])
        return {"count": self.count}

    def mishap(self, kind: str) -> None:
        if kind == "raise":
            raise ValueError("no more")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            time.sleep(1000)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: dict[str, int]) -> None:
        self.count = checkpoint["count"]
        self.restored = True


class PauseOnce(FIFOScheduler):
    """Pauses each trial at its second result, and goes on with paused ones last."""

    def __init__(self) -> None:
        super().__init__()
        self._paused: set[str] = set()

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["count"] == 2 and trial.trial_id not in self._paused:
            self._paused.add(trial.trial_id)
            return TrialScheduler.PAUSE
        return TrialScheduler.CONTINUE


def attempts(client: Any, flow_run_id: str) -> dict[str, Any]:
    """Task runs of trials by the end of their names: state."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    which = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    runs = client.read_task_runs(flow_run_filter=which, limit=200)
    names = {run.name.removeprefix("Counting_"): run.state for run in runs}
    return {name.partition("_")[2]: state for name, state in names.items() if "_" in name}


def test_failed_and_killed_attempts_are_followed_by_new_ones(
    recorded_sweep: Any, cluster: None, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    analysis = recorded_sweep(
        Counting, config={"mishap": tune.grid_search(["raise", "kill"])}, max_failures=1
    )
    seen = attempts(client, analysis.flow_run_id)
    again = "attempt 2 from checkpoint_000002"
    assert {name: state.name for name, state in seen.items()} == {
        "00000": "Failed",
        "00001": "Failed",
        f"00000 {again}": "Stopped",
        f"00001 {again}": "Stopped",
    }
    assert seen["00000"].message.startswith("ValueError: no more")
    assert "Traceback" in seen["00000"].message
    assert "SIGKILL" in seen["00001"].message
    told = [record for record in caplog.records if "tried again" in record.getMessage()]
    assert len(told) == 2
    assert {record.name for record in told} == {"prefect.flow_runs"}
    assert {record.levelno for record in told} == {logging.WARNING}


def test_attempts_over_their_time_limit_say_so(
    recorded_sweep: Any, cluster: None, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_STOP_GRACE_S", "0.2")
    analysis = recorded_sweep(
        Counting,
        config={"mishap": tune.grid_search(["hang", "hang at once"])},
        trial_time_limit_s=1,
        raise_on_failed_trial=False,
    )
    seen = attempts(client, analysis.flow_run_id)
    assert {name: state.name for name, state in seen.items()} == {
        "00000": "Stopped",
        "00001": "TimedOut",
    }
    for state in seen.values():
        assert "its time limit of 1 s was over" in state.message


def test_paused_attempts_are_followed_by_new_ones(
    recorded_sweep: Any, cluster: None, client: Any
) -> None:
    analysis = recorded_sweep(Counting, config={"mishap": "none"}, scheduler=PauseOnce())
    states = attempts(client, analysis.flow_run_id)
    assert {name: (state.type.value, state.name) for name, state in states.items()} == {
        "00000": ("COMPLETED", "Paused"),
        "00000 attempt 2 from checkpoint_000002": ("COMPLETED", "Stopped"),
    }


class LoseWorker(tune.Callback):
    """Kills the worker of the first trial, once."""

    def __init__(self, pid: int) -> None:
        self._pid: int | None = pid

    def on_trial_result(self, result: dict[str, Any], **info: Any) -> None:
        if result["count"] >= 2 and self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = None


class Slowly(Counting):
    """Lasts long enough for somebody to act."""

    def step(self) -> dict[str, float]:
        time.sleep(0.3)
        return super().step()


@pytest.mark.slow
def test_lost_attempts_are_followed_by_new_ones(recorded_sweep: Any, client: Any) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as dask,
    ):
        (worker,) = dask.run(os.getpid).values()
        analysis = recorded_sweep(
            Slowly, config={"mishap": "none"}, cluster=dask, callbacks=[LoseWorker(worker)]
        )
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    which = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(analysis.flow_run_id)]))
    runs = [
        run
        for run in client.read_task_runs(flow_run_filter=which, limit=50)
        if run.name != "coordinator"
    ]
    runs.sort(key=lambda run: run.start_time)
    assert [run.state_name for run in runs] == ["Crashed", "Stopped"]
    assert "attempt 2 from checkpoint_" in runs[1].name
