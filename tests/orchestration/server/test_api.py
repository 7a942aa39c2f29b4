"""Which API is used, and that an embedded server is one, tethered, and no burden to others."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, Settings, temporary_settings
from prefect.settings.constants import DEFAULT_PROFILES_PATH

from prefect_tune.error import PrefectUnavailable
from prefect_tune.orchestration.record.conclusion import FlowRunDescription
from prefect_tune.orchestration.record.flow import run_in_flow
from prefect_tune.orchestration.server import api as server_api
from prefect_tune.orchestration.server.api import settings_of_server, start_server_early
from prefect_tune.orchestration.server.directory import ServerSettings
from prefect_tune.orchestration.server.embedded import EmbeddedServer, process_server
from prefect_tune.orchestration.server.without_prefect import ConfiguredServer, known_server
from tests.orchestration.fakes import FakeExecutor
from tests.warm_python import start_script, start_servers_warm


def test_a_configured_api_is_used(prefect_api: str) -> None:
    api = start_server_early()
    api.wait_ready()
    assert not api.embedded


@pytest.mark.parametrize("is_async", [False, True])
def test_inside_a_flow_it_is_the_server_that_knows_the_flow_run(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """Also if this process has had an embedded one before."""

    class Embedded:
        api_url = "http://127.0.0.1:1/api"
        alive = True

    monkeypatch.setattr(process_server, "get", Embedded)

    def body() -> list[bool]:
        found = [start_server_early().embedded]
        monkeypatch.setattr(Embedded, "api_url", prefect_api)
        return [*found, start_server_early().embedded]

    async def async_body() -> list[bool]:
        return body()

    if is_async:
        assert asyncio.run(flow(async_body, name="async")()) == [False, True]
    else:
        assert flow(body, name="sync")() == [False, True]


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home of a user who has not configured Prefect."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("home", [None, "~/here"])
@pytest.mark.parametrize("has_profiles", [False, True])
def test_the_defaults_are_those_of_prefect(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, has_profiles: bool
) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    if home is not None:
        monkeypatch.setenv("PREFECT_HOME", home)
    (no_settings / "pyproject.toml").write_text("[project]\n")
    if has_profiles:
        profiles = Path(home or "~/.prefect").expanduser() / "profiles.toml"
        profiles.parent.mkdir()
        shutil.copy(DEFAULT_PROFILES_PATH, profiles)
    assumed = known_server()
    assert isinstance(assumed, ServerSettings)
    monkeypatch.setattr(server_api, "get_current_settings", Settings)
    real = settings_of_server()
    assert (assumed.home, assumed.database) == (real.home, real.database)
    assert assumed.directory == real.directory


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".prefect/profiles.toml", "active = 'local'\n"),
        (".prefect/profiles.toml", "active = 'mine'\n[profiles.mine]\nPREFECT_API_KEY = 'k'\n"),
        ("prefect.toml", "[api]\nurl = 'http://10.0.0.1/api'\n"),
        ("pyproject.toml", "[tool.prefect.api]\nurl = 'http://10.0.0.1/api'\n"),
        (".env", "prefect_api_url=http://10.0.0.1/api\n"),
        (None, "PREFECT_API_URL"),
        (None, "PREFECT_PROFILE"),
        (None, "PREFECT_SERVER_DATABASE_CONNECTION_URL"),
    ],
)
def test_what_only_prefect_understands_is_left_to_it(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, text: str
) -> None:
    if name is None:
        monkeypatch.setenv(text, "x")
    else:
        (no_settings / name).parent.mkdir(exist_ok=True)
        (no_settings / name).write_text(text)
    assert known_server() is None


@pytest.mark.parametrize("by_profile", [False, True])
def test_a_configured_server_is_known_if_it_answers_without_a_key(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch, by_profile: bool
) -> None:
    def known_as(url: str) -> object:
        if by_profile:
            monkeypatch.setenv("PREFECT_HOME", str(no_settings))
            profile = f"active = 'mine'\n[profiles.mine]\nPREFECT_API_URL = '{url}'\n"
            (no_settings / "profiles.toml").write_text(profile)
        else:
            monkeypatch.setenv("PREFECT_API_URL", url)
        assert str(Settings().api.url) == url
        return known_server()

    with answering(200, also_health=True) as url:
        assert known_as(url) == ConfiguredServer(url)
    assert known_as(url) is None
    with answering(401, also_health=False) as url:
        assert known_as(url) is None


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"


def test_an_api_that_refuses_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(PrefectUnavailable) as caught:
        start_server_early().wait_ready()
    for part in (url, "PREFECT_API_URL", "orchestrate=False", "PREFECT_TUNE_ORCHESTRATE=0"):
        assert part in str(caught.value)


def test_an_api_that_does_not_answer_is_given_up_soon(silent: str) -> None:
    with temporary_settings({PREFECT_API_URL: silent}), pytest.raises(PrefectUnavailable) as caught:
        start_server_early().wait_ready()
    assert "no answer within" in str(caught.value)


@contextlib.contextmanager
def answering(status: int, also_health: bool) -> Iterator[str]:
    """Address of a server that answers everything with this status; its health maybe not."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy = self.path.endswith("/health") and not also_health
            self.send_response(200 if healthy else status)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"true")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{api.server_port}/api"
        api.shutdown()


@pytest.mark.parametrize(
    ("status", "also_health", "told"),
    [
        (401, True, "PREFECT_API_KEY"),
        (401, False, "PREFECT_API_AUTH_STRING"),
        (403, False, "does not let us in"),
        (500, True, "HTTP 500"),
        (500, False, "HTTP 500"),
    ],
)
def test_an_api_that_will_not_have_us_says_what_it_wants(
    status: int, also_health: bool, told: str
) -> None:
    """A server with a password tells everybody that it is well."""
    with (
        answering(status, also_health) as url,
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(PrefectUnavailable) as caught,
    ):
        run_in_flow(
            lambda _: pytest.fail("began"),
            FlowRunDescription("tune-fake", "fake", {}, FakeExecutor()),
        )
    for part in (url, told, "orchestrate=False"):
        assert part in str(caught.value)


def script(
    home: Path, code: str, start: Callable[..., subprocess.Popen[str]] = start_script
) -> subprocess.Popen[str]:
    """Run code in a process that has a Prefect home of its own and no API."""
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(home)
    return start(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_prefect_database: Path) -> Path:
    home = tmp_path_factory.mktemp("prefect")
    shutil.copy(empty_prefect_database, home / "prefect.db")
    return home


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(home: Path, tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        import os
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = "sqlite+aiosqlite:////no/such/dir/x.db"
        from prefect_tune.error import PrefectUnavailable
        from prefect_tune.orchestration.server.api import start_server_early
        try:
            start_server_early().wait_ready()
        except PrefectUnavailable as error:
            print(error)
        """,
    )
    out, _ = process.communicate(timeout=100)
    assert "ended with exit code" in out
    assert "orchestrate=False" in out
    assert "unable to open database file" in out


#: Before scripts whose server, if they start one, is a fork of one that has imported all.
_WARM_SERVER = """
    from types import SimpleNamespace
    from tests.warm_python import start_servers_warm
    start_servers_warm(SimpleNamespace(setattr=setattr))
"""

_USER = """
    import sys
    from prefect_tune.orchestration.server.api import start_server_early

    api = start_server_early()
    print(api.server.api_url, flush=True)
    api.wait_ready(lambda line: None)
    print(api.server._process and api.server._process.pid, flush=True)
    sys.stdin.read()
"""

_STARTS_WITHOUT_PREFECT = """
    import sys
    from prefect_tune.orchestration.server.embedded import EmbeddedServer, process_server

    server = process_server.start_without_prefect()
    print(server.api_url, flush=True)
    assert process_server.start_without_prefect() is server and "prefect" not in sys.modules

    from prefect_tune.orchestration.server.api import start_server_early
    assert start_server_early().server is server
    server.wait_ready(lambda line: None)
    print(server._process and server._process.pid, flush=True)
    sys.stdin.read()
"""

_ASKS_EVERYWHERE = """
    import sys, threading
    from prefect_tune.orchestration.server.api import start_server_early

    first = start_server_early()
    second = start_server_early()
    assert first.embedded and second.server is first.server
    print(first.server.api_url, flush=True)
    first.wait_ready(lambda line: None)

    from prefect import flow
    from prefect.settings import PREFECT_API_URL

    print(PREFECT_API_URL.value())
    thread = threading.Thread(target=lambda: print(PREFECT_API_URL.value()))
    thread.start(); thread.join()
    print(flow(lambda: start_server_early().server.api_url, name="inner")(), flush=True)
    ask = "from prefect.settings import PREFECT_API_URL; print(PREFECT_API_URL.value())"
    from tests.warm_python import run_script
    print(run_script([sys.executable, "-c", ask]).stdout.strip(), flush=True)
    sys.stdin.read()
"""


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def server_of(url: str) -> psutil.Process:
    port = int(url.rpartition(":")[2].partition("/")[0])
    return next(
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.status == "LISTEN" and connection.pid
    )


def test_processes_of_one_home_share_a_server(home: Path) -> None:
    """Also when one of them is killed.

    Whoever comes when the server has ended gets another, which ends with the last, however it ends.
    """
    first = script(home, _WARM_SERVER + _USER)
    second = script(home, _WARM_SERVER + _STARTS_WITHOUT_PREFECT, subprocess.Popen)
    url = line_of(first)
    assert line_of(second) == url
    shared = server_of(url)
    started = {line_of(first): first, line_of(second): second}
    assert started.keys() == {str(shared.pid), "None"}
    owner, other = started[str(shared.pid)], started["None"]
    owner.kill()
    owner.wait()
    third = script(home, _ASKS_EVERYWHERE)
    assert {line_of(third) for _ in range(5)} == {url}
    other.communicate(timeout=60)
    assert other.returncode == 0
    assert shared.is_running()
    shared.kill()
    shared.wait(timeout=60)
    last = script(home, _USER)
    assert line_of(last) != url
    (another,) = psutil.Process(last.pid).children()
    assert line_of(last) == str(another.pid)
    third.communicate(timeout=60)
    assert third.returncode == 0
    last.kill()
    last.wait()
    another.wait(timeout=60)


@pytest.mark.slow
def test_the_server_does_not_outlive_a_process_that_is_told_to_end(home: Path) -> None:
    process = script(
        home,
        """
        import psutil, sys
        from prefect_tune.orchestration.server.api import start_server_early

        start_server_early().wait_ready()
        print(psutil.Process().children()[0].pid, flush=True)
        sys.stdin.read()
        """,
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    server = psutil.Process(next(int(line) for line in lines if line.strip().isdigit()))
    process.terminate()
    process.wait()
    server.wait(timeout=60)


def test_each_database_has_a_server_of_its_own(home: Path) -> None:
    here, elsewhere = (ServerSettings(home, f"sqlite:///{name}") for name in "ab")
    assert here.directory != elsewhere.directory


def test_a_home_that_cannot_be_written_is_no_hindrance(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(home / "prefect.db", tmp_path)
    (tmp_path / "prefect_tune").write_text("not a directory")
    start_servers_warm(monkeypatch)
    server = EmbeddedServer(ServerSettings(tmp_path, "", variables={"PREFECT_HOME": str(tmp_path)}))
    server.wait_ready(print)
    assert httpx.get(f"{server.api_url}/health").json() is True
    assert server.alive
    server.stop()
    assert not server.alive
