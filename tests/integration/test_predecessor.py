"""A flow run whose process was killed is not shown as running once another goes on with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune

from ..warm_python import start_script
from .served import environment, poll

pytestmark = pytest.mark.usefixtures("prefect_api")


def train(config: dict[str, str]) -> None:
    root = Path(config["root"])
    (root / "waiting").touch()
    while not (root / "go").exists():
        time.sleep(0.02)
    tune.report({"score": 1})


def sweep(root: str, resume: str | bool = "AUTO") -> tune.ExperimentAnalysis:
    return tune.run(
        train, config={"root": root}, name="one", storage_path=root, resume=resume, verbose=0
    )


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


def flow_runs(client: Any) -> dict[str, Any]:
    return {str(run.id): run for run in client.read_flow_runs() if run.name == "one"}


def test_it_is_marked_as_crashed_and_says_which_goes_on(
    cluster: None, client: Any, tmp_path: Path
) -> None:
    known = flow_runs(client).keys()
    code = f"from tests.integration.test_predecessor import sweep; sweep({str(tmp_path)!r})"
    process = start_script([sys.executable, "-c", code], env=environment())
    poll((tmp_path / "waiting").exists, process)
    process.kill()
    process.wait()
    (killed,) = flow_runs(client).keys() - known
    assert client.read_flow_run(killed).state.is_running()
    (tmp_path / "go").touch()
    finished = sweep(str(tmp_path)).flow_run_id
    state = client.read_flow_run(killed).state
    assert state.is_crashed()
    assert str(finished) in state.message
    assert client.read_flow_run(finished).state.is_completed()
    # Nothing is said of one that has ended, nor if there is no flow run any more.
    third = sweep(str(tmp_path), resume=True).flow_run_id
    assert client.read_flow_run(finished).state.is_completed()
    client.delete_flow_run(third)
    fourth = sweep(str(tmp_path), resume=True).flow_run_id
    assert client.read_flow_run(fourth).state.is_completed()
