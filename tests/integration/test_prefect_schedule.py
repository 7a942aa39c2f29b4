"""Schedules fire on the installed Prefect server: its versions go together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .served import REPOSITORY, end, poll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_SERVED = """
    from pathlib import Path
    from prefect import flow

    @flow
    def nightly():
        Path("FIRED").touch()

    if __name__ == "__main__":
        nightly.serve(name="often", interval=3, limit=1)
"""
_RECURRING = """
    from prefect_tune.flows import recurring_sweep

    def train(config):
        return {"score": config["x"]}

    if __name__ == "__main__":
        recurring_sweep.serve(
            name="often",
            interval=20,
            limit=1,
            parameters={
                "trainable": "served:train",
                "metric": "score",
                "mode": "max",
                "name": "often-{date}-{time}",
                "space": [{"name": "x", "domain": {"low": 0, "high": 1}}],
                "budget": {"trials": 2},
                "storage": "STORAGE",
            },
        )
"""


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **variables}, stdout=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        end(started)


def asked(url: str, body: object = None) -> Any:
    """What a server answers, None if it does not."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Address of a server's API, and the variables that have a process use it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    home = {"PREFECT_HOME": str(tmp_path_factory.mktemp("home")), "PREFECT_API_URL": api}
    # One run ahead at a time, so that each further one takes another loop of the scheduler.
    often = {
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "0:00:01",
    }
    start = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with process(*start, **home, **often) as started:
        poll(lambda: asked(f"{api}/health"), started)
        yield api, home


def test_an_interval_schedule_fires(server: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """And goes on: the runs after the first one are made while the server runs."""
    api, home = server
    script, fired = tmp_path / "served.py", tmp_path / "fired"
    script.write_text(textwrap.dedent(_SERVED).replace("FIRED", str(fired)))
    with process(str(script), **home, PREFECT_RUNNER_POLL_FREQUENCY="1") as served:
        poll(fired.exists, served)
        which = {"flows": {"name": {"any_": ["nightly"]}}}
        by_time = {**which, "sort": "EXPECTED_START_TIME_ASC", "limit": 3}
        poll(lambda: len(asked(f"{api}/flow_runs/filter", by_time) or ()) == 3, served)
        runs = asked(f"{api}/flow_runs/filter", by_time)
    assert all(run["auto_scheduled"] for run in runs)


def test_each_scheduled_run_of_a_sweep_has_an_experiment_of_its_own(
    server: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    api, home = server
    script, storage = tmp_path / "served.py", tmp_path / "experiments"
    script.write_text(textwrap.dedent(_RECURRING).replace("STORAGE", str(storage)))
    # The flow runs in another process, and imports the trainable from here.
    paths = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    variables = {**home, "PYTHONPATH": paths, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    ended = {
        "flows": {"name": {"any_": ["recurring-sweep"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }

    def sweeps() -> list[dict[str, Any]]:
        """Runs that have ended, without those that were skipped because another one still ran."""
        runs = asked(f"{api}/flow_runs/filter", ended) or []
        return [run for run in runs if run["state_name"] != "Skipped"]

    with process(str(script), **variables) as served:
        poll(lambda: len(sweeps()) >= 2, served)
    first, second = sweeps()[:2]
    assert [first["state_name"], second["state_name"]] == ["Completed"] * 2, (first, second)
    assert first["auto_scheduled"]
    assert second["auto_scheduled"]
    for run in (first, second):
        assert run["name"].startswith("often-")
        assert len(list((storage / run["name"]).glob("*/result.json"))) == 2
    assert first["name"] != second["name"]
    # The second one tried the best configurations of the first one.
    configs = [
        {
            json.loads(file.read_text())["x"]
            for file in (storage / run["name"]).glob("*/params.json")
        }
        for run in (first, second)
    ]
    assert configs[0] == configs[1]
