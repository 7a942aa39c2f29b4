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

from .served import end, poll

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


def test_an_interval_schedule_fires(tmp_path: Path) -> None:
    """And goes on: the runs after the first one are made while the server runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    home = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": api}
    # One run ahead at a time, so that each further one takes another loop of the scheduler.
    often = {
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "0:00:01",
    }
    script, fired = tmp_path / "served.py", tmp_path / "fired"
    script.write_text(textwrap.dedent(_SERVED).replace("FIRED", str(fired)))
    start = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with process(*start, **home, **often) as server:
        poll(lambda: asked(f"{api}/health"), server)
        with process(str(script), **home, PREFECT_RUNNER_POLL_FREQUENCY="1") as served:
            poll(fired.exists, served)
            by_time = {"sort": "EXPECTED_START_TIME_ASC", "limit": 3}
            poll(lambda: len(asked(f"{api}/flow_runs/filter", by_time) or ()) == 3, served)
            runs = asked(f"{api}/flow_runs/filter", by_time)
    assert all(run["auto_scheduled"] for run in runs)
