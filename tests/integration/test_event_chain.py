"""`flows/on_new_data.py`: data starts a sweep, whose end starts what promotes its winner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .served import REPOSITORY, end, environment, poll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_new_data_starts_a_sweep_and_its_end_promotes_the_winner(
    prefect_api: str, tmp_path: Path
) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.events import emit_event

    from prefect_tune.flows import SweepResult

    # From elsewhere, and with a home of its own, where results go.
    served = subprocess.Popen(
        [sys.executable, REPOSITORY / "flows" / "on_new_data.py"],
        cwd=tmp_path,
        env=environment(HOME=str(tmp_path)),
        stdout=subprocess.DEVNULL,
    )
    try:
        with get_client(sync_client=True) as client:

            def runs_of(deployment: str) -> list[Any]:
                named = DeploymentFilter(name=DeploymentFilterName(any_=[deployment]))
                return client.read_flow_runs(deployment_filter=named)

            # Both have been told to the server before anything is run.
            automations = {"new data starts a sweep", "a sweep that has ended promotes its winner"}
            poll(lambda: {known.name for known in client.read_automations()} >= automations, served)
            emit_event(
                "data.arrived",
                resource={"prefect.resource.id": "data.digits"},
                payload={"day": "monday"},
            )
            (sweep,) = poll(lambda: _ended(runs_of("on-new-data")), served)
            (promotion,) = poll(lambda: _ended(runs_of("winner")), served)
            result = sweep.state.result()
    finally:
        end(served)
    assert isinstance(result, SweepResult)
    assert (result.experiment, result.trials, result.failed) == ("data-monday", 8, 0)
    assert sweep.name == "data-monday"
    assert promotion.state.is_completed()
    assert promotion.parameters["accuracy"] == result.best_value
    assert promotion.parameters["directory"] == result.directory


def _ended(runs: list[Any]) -> list[Any]:
    """The runs, if there are some and all have ended."""
    return runs if runs and all(run.state.is_final() for run in runs) else []
