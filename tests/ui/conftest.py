"""A server with Prefect's UI, flows that are served, and a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.served import end, poll
from tests.ui.browser import Screenshots, browser

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def page() -> Iterator[Any]:
    """The one page of the browser."""
    with browser() as page:
        yield page


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Screenshots:
    return Screenshots(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def ui(page: Any, home: Path) -> Iterator[str]:
    """Address of a server with a database of its own; in effect only for what is served."""
    from prefect.context import refresh_global_settings_context

    from prefect_tune.orchestration.server.api import settings_of_server
    from prefect_tune.orchestration.server.embedded import EmbeddedServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED", "true")
        patch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "2")
        patch.delenv("PREFECT_API_URL", raising=False)
        refresh_global_settings_context()
        server = EmbeddedServer(settings_of_server())
        server.wait_ready(print)
    refresh_global_settings_context()
    yield server.ui_url
    server.stop()


@pytest.fixture(scope="session")
def api(ui: str) -> Iterator[httpx.Client]:
    """A client of the server's API."""
    with httpx.Client(base_url=f"{ui}/api", timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def serve(ui: str, api: httpx.Client, home: Path) -> Iterator[Callable[[str, str], str]]:
    """Serves a script of `flows/`; gives the id of a deployment."""
    environment = {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{HERE}",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{ui}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(script: str, deployment: str) -> str:
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "flows" / script],
            cwd=home,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        processes.append(process)

        def find() -> str | None:
            answer = api.get(f"/deployments/name/{deployment}")
            return answer.json()["id"] if answer.is_success else None

        return str(poll(find, process))

    yield start
    for process in processes:
        end(process)


@pytest.fixture(scope="session")
def tune_deployment(serve: Callable[[str, str], str]) -> str:
    """Id of the deployment of `flows/tune.py`."""
    return serve("tune.py", "tune-experiment/tune")
