"""Flow runs that are executed more than once go on with their sweeps."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..warm_python import start_script
from . import rerun_flows
from .rerun_trainables import times_run
from .served import Run, environment, kill, poll, serving

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


def experiments(root: Path) -> list[Path]:
    return [path.parent for path in root.glob("*/journal.jsonl")]


def test_a_flow_that_retries_goes_on_with_its_sweep(
    cluster: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert rerun_flows.raising(str(tmp_path)) == [4]
    ended, ended_too, next_one, last = (times_run(tmp_path, x) for x in range(4))
    assert [ended, ended_too, last] == [1, 1, 1]
    # It may have been started when the callback raised, and was cut off then.
    assert next_one in (1, 2)
    assert experiments(tmp_path) == [tmp_path / "first"]
    (told,) = [line for line in caplog.messages if "goes on with" in line]
    assert "its sweep of train" in told


def test_a_finished_sweep_is_not_run_again(cluster: None, tmp_path: Path) -> None:
    assert rerun_flows.raising_later(str(tmp_path)) == [4]
    assert [times_run(tmp_path, x) for x in range(4)] == [1, 1, 1, 1]
    assert len(experiments(tmp_path)) == 1


def test_failed_trials_that_failed_the_flow_are_tried_again(cluster: None, tmp_path: Path) -> None:
    assert rerun_flows.failing(str(tmp_path)) == ["TERMINATED"] * 4
    assert [times_run(tmp_path, x) for x in range(4)] == [1, 1, 2, 2]


def test_resume_false_begins_anew(cluster: None, tmp_path: Path) -> None:
    rerun_flows.anew(str(tmp_path))
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 2, 2]
    assert len(experiments(tmp_path)) == 2


@pytest.mark.parametrize("flow", [rerun_flows.reordered, rerun_flows.skipping])
def test_a_retry_that_takes_another_course_mixes_no_sweeps(
    flow: Any, cluster: None, tmp_path: Path
) -> None:
    found = flow(str(tmp_path))
    assert found in ([[0, 0], [100, 100]], [100, 100])
    assert len(experiments(tmp_path)) == 2


def test_a_task_that_is_retried_goes_on_with_its_sweep(cluster: None, tmp_path: Path) -> None:
    assert rerun_flows.uploads(str(tmp_path)) == 4
    assert [times_run(tmp_path, x) for x in range(4)] == [1, 1, 1, 1]


def retry(flow_run_id: Any) -> None:
    """`prefect flow-run retry` of a flow run without a deployment."""
    entrypoint = "tests/integration/rerun_flows.py:pipeline"
    process = start_script(
        [sys.executable, "-m", "prefect", "flow-run", "retry", str(flow_run_id), "-e", entrypoint],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.wait() == 0


def test_a_killed_script_goes_on_when_its_flow_run_is_retried(client: Any, tmp_path: Path) -> None:
    from prefect.states import Crashed

    code = f"from tests.integration.rerun_flows import pipeline; pipeline({str(tmp_path)!r})"
    process = start_script([sys.executable, "-c", code], env=environment())
    poll((tmp_path / "waiting").exists, process)
    process.kill()
    process.wait()
    (flow_run_id,) = {path.name for path in (tmp_path / ".flow_runs").iterdir()}
    client.set_flow_run_state(flow_run_id, Crashed(), force=True)
    (tmp_path / "go").touch()
    retry(flow_run_id)
    assert client.read_flow_run(flow_run_id).state.is_completed()
    # The second sweep of the flow ran each trial once more.
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 3, 2]
    assert len(experiments(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_cancelled_and_retried(client: Any, tmp_path: Path) -> None:
    from prefect.states import Cancelling, Scheduled

    with serving("cancelled") as process:
        run = Run(client, "pipeline/cancelled", {"root": str(tmp_path)}, process)
        poll((tmp_path / "waiting").exists, process)
        client.set_flow_run_state(run.id, Cancelling())
        run.wait_for("Cancelled")
        assert "Crashed" not in run.history()
        (tmp_path / "go").touch()
        client.set_flow_run_state(run.id, Scheduled(), force=True)
        run.wait_for("Completed")
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 3, 2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_suspended_and_resumed(client: Any, tmp_path: Path) -> None:
    from prefect.flow_runs import resume_flow_run, suspend_flow_run

    with serving("suspended") as process:
        run = Run(client, "pipeline/suspended", {"root": str(tmp_path)}, process)
        poll((tmp_path / "waiting").exists, process)
        suspend_flow_run(flow_run_id=run.id)
        (flow_process,) = {int((tmp_path / "pid").read_text())}
        poll(lambda: not _lives(flow_process), process)
        assert run.state.name == "Suspended"
        assert "Running" not in run.task_runs().values()
        (tmp_path / "go").touch()
        resume_flow_run(run.id)
        run.wait_for("Completed")
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 3, 2]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def automations(prefect_api: str) -> Iterator[None]:
    from prefect_tune.orchestration.control.automations import (
        create_automations,
        delete_automations,
    )

    create_automations(silence_s=10)
    yield
    delete_automations()


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_killed_flow_process_goes_on_by_itself(
    automations: None, client: Any, tmp_path: Path
) -> None:
    with serving("killed") as process:
        run = Run(client, "pipeline/killed", {"root": str(tmp_path)}, process)
        poll((tmp_path / "waiting").exists, process)
        kill(tmp_path)
        (tmp_path / "go").touch()
        run.wait_for("Completed")
    assert run.history().count("AwaitingRetry") == 1
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 3, 2]
    assert set(run.task_runs().values()) <= {"Completed", "Crashed"}


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_lost_machine_is_noticed_and_its_run_goes_on_elsewhere(
    automations: None, client: Any, tmp_path: Path
) -> None:
    with serving("lost") as process:
        run = Run(client, "pipeline/lost", {"root": str(tmp_path)}, process)
        poll((tmp_path / "waiting").exists, process)
        process.kill()
        kill(tmp_path)
        state = run.wait_for("AwaitingRetry")
        assert "goes on" in state.message
    assert run.history()[-2:] == ["Crashed", "AwaitingRetry"]
    (tmp_path / "go").touch()
    with serving("lost"):
        run.wait_for("Completed")
    assert [times_run(tmp_path, x) for x in range(4)] == [2, 2, 3, 2]


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_flow_that_is_an_experiment_goes_on_too(
    automations: None, client: Any, tmp_path: Path
) -> None:
    parameters = {
        "trainable": "tests.integration.rerun_trainables:train",
        "space": {"x": {"grid_search": [0, 1, 2, 3]}, "root": str(tmp_path)},
        "metric": "score",
        "mode": "max",
        "budget": {"trials": 1, "concurrency": 1},
        "storage": str(tmp_path),
    }
    with serving("experiment") as process:
        run = Run(client, "tune-experiment/experiment", parameters, process)
        poll((tmp_path / "waiting").exists, process)
        (holder,) = tmp_path.glob("*/.lock")
        os.kill(int(holder.read_text().split()[1]), signal.SIGTERM)
        poll(lambda: "Interrupted" in run.history(), process)
        (tmp_path / "go").touch()
        state = run.wait_for("Completed")
        assert state.message.startswith("best score=3")
    assert [times_run(tmp_path, x) for x in range(4)] == [1, 1, 2, 1]
    record = json.loads(next((tmp_path / ".flow_runs" / str(run.id)).iterdir()).read_bytes())
    assert record["name"] == experiments(tmp_path)[0].name
