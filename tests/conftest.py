"""What tests of several packages share."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.warm_python import start_helpers_warm, start_servers_warm

pytest_plugins = ["tests.s3.plugin", "tests.clouds.plugin"]


@pytest.fixture(scope="module", autouse=True)
def _no_cluster_is_left() -> Iterator[None]:
    """Ends the cluster that sweeps of a module have started by themselves."""
    yield
    if "prefect_tune.execution.cluster.api" in sys.modules:
        sys.modules["prefect_tune.execution.cluster.api"].shutdown()


@pytest.fixture(scope="module", autouse=True)
def _no_connection_to_prefect_is_left() -> Iterator[None]:
    """Has events of the next module go to the server of its settings, not to one that has gone."""
    yield
    if "prefect.events.worker" in sys.modules:
        _drain()


@pytest.fixture(scope="session", autouse=True)
def warm_helpers() -> Iterator[None]:
    """Processes that start trials are forked, not booted: only the first one costs CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        start_helpers_warm(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _modules_of_tests_are_not_sent() -> Iterator[None]:
    """No node lacks them, and a sweep of one test would read and send those of all."""
    from prefect_tune.trainable.shipping import local_modules

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_modules, "_LEFT_OUT", (*local_modules._LEFT_OUT, "tests"))
        yield


@pytest.fixture(scope="session")
def empty_prefect_database(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Path:
    """File of a new Prefect database, made once for all processes, as it takes longest."""
    import prefect

    cache = pytestconfig.cache
    assert cache is not None
    empty = cache.mkdir("prefect") / f"{prefect.__version__}.db"
    with open(empty.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty.exists():
            home = tmp_path_factory.mktemp("new_prefect")
            with _prefect_server(home):
                new = empty.with_suffix(".new")
                with (
                    closing(sqlite3.connect(home / "prefect.db")) as source,
                    closing(sqlite3.connect(new)) as copy,
                ):
                    source.backup(copy)
                new.replace(empty)
    return empty


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory, empty_prefect_database: Path
) -> Iterator[str]:
    """Address of a Prefect server with a database of its own, in effect for this process."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copy(empty_prefect_database, home / "prefect.db")
    with _prefect_server(home) as url:
        yield url
        _drain()


@contextmanager
def _prefect_server(home: Path) -> Iterator[str]:
    """Run a server of this home inside, in effect for this process; yields its address."""
    from prefect.context import refresh_global_settings_context

    from prefect_tune.orchestration.server.api import settings_of_server
    from prefect_tune.orchestration.server.embedded import EmbeddedServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.delenv("PREFECT_API_URL", raising=False)
        refresh_global_settings_context()
        start_servers_warm(patch)
        server = EmbeddedServer(settings_of_server())
        server.wait_ready(print)
        patch.setenv("PREFECT_API_URL", server.api_url)
        refresh_global_settings_context()
        yield server.api_url
        server.stop()
    refresh_global_settings_context()


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Shows GPUs by a stand-in for NVML, also in processes that are started from then on."""
    folder = str(Path(__file__).parent / "fake_nvml")
    file = tmp_path / "nvml.json"
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("FAKE_NVML", str(file))

    def show(*gpus: dict[str, Any], driver: bool = True) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(gpus))
        if driver:
            new.replace(file)

    return show


def _drain() -> None:
    """Have Prefect's background threads let go of the server before it ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10, at_exit=False)
    APILogWorker.drain_all(timeout=10, at_exit=False)


def pytest_collection_finish() -> None:
    """Leave thousands of tests out of each search for garbage: it took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_configure(config: pytest.Config) -> None:
    """No test may report home or touch the user's own Prefect database or key by accident."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # pytest-xdist sets it, and tables would be cut to it.
    os.environ.pop("COLUMNS", None)
    os.environ.setdefault("PREFECT_TUNE_SIGNING_KEY", "the key that tests sign with")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # How long an example takes to make or to run says how busy the machine is.
    hypothesis.settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")
