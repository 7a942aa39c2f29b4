"""Chooses the Prefect API of this process: the configured one, or an embedded server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TaskRunContext, refresh_global_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    get_current_settings,
    temporary_settings,
)

from prefect_tune.error import PrefectUnavailable
from prefect_tune.orchestration.prefect_internals import server_of_prefect
from prefect_tune.orchestration.server.directory import ServerSettings
from prefect_tune.orchestration.server.embedded import EmbeddedServer, process_server

_ANSWER_SECONDS = 5.0
_UNAUTHORIZED = (401, 403)


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """The API that this process uses, made by `start_server_early`.

    Attributes:
        server: The embedded server; None if another server is used.
        url: Address of the other server; None for that of the surrounding flow run.
    """

    server: EmbeddedServer | None
    url: str | None

    @property
    def embedded(self) -> bool:
        """True if the server ends with this process, unless other processes use it."""
        return self.server is not None

    @property
    def booting(self) -> EmbeddedServer | None:
        """The embedded server while it does not answer yet; None inside of runs."""
        in_run = FlowRunContext.get() or TaskRunContext.get()
        return None if in_run or self.server is None or self.server.is_ready else self.server

    @property
    def ui_url(self) -> str | None:
        """Address of the UI of the embedded server, or that of the settings."""
        if self.server is not None:
            return self.server.ui_url
        return get_current_settings().ui_url

    def wait_ready(self, say: Callable[[str], None] = print) -> None:
        """Wait until the API answers.

        Args:
            say: Called with a line for the user if that takes more than a moment.

        Raises:
            PrefectUnavailable: If the configured API does not answer within seconds, or the
                embedded server does not start.
        """
        if self.server is not None:
            self.server.wait_ready(say)
        elif self.url is not None:
            _require_api(self.url)

    @contextlib.contextmanager
    def in_effect(self) -> Iterator[None]:
        """Let Prefect use this API inside, whatever the caller's settings are."""
        if self.server is None:
            yield
            return
        with temporary_settings({PREFECT_API_URL: self.server.api_url}):
            yield


def start_server_early() -> PrefectApi:
    """Choose the API, and start the embedded server if there is none; do not wait for it.

    There is at most one embedded server per Prefect home, which lasts until the last process that
    uses it ends. Its address is put into `PREFECT_API_URL`, so that no other flow of this process
    and no child process starts another server.
    """
    if (context := FlowRunContext.get()) is not None:
        embedded = process_server.get()
        # The server of the surrounding flow run may be another one than the embedded server.
        used = str(context.client.api_url).rstrip("/")
        return PrefectApi(embedded if embedded and embedded.api_url == used else None, None)
    url = get_current_settings().api.url
    with process_server.lock:
        server = process_server.get()
        if url and (server is None or url != server.api_url):
            return PrefectApi(None, url)
        if server is None or not server.alive:
            if url := server_of_prefect():
                return PrefectApi(None, url)
            server = process_server.start(settings_of_server())
            refresh_global_settings_context()
        return PrefectApi(server, None)


def check_lasting_server() -> str:
    """Return the address of the configured server, for records that must outlive this process.

    Raises:
        PrefectUnavailable: If no server is configured, or it does not answer.
    """
    url = get_current_settings().api.url
    if not url:
        raise PrefectUnavailable(
            "no Prefect server is configured. Start one with `prefect server start` and set "
            "PREFECT_API_URL."
        )
    _require_api(url)
    return url


def settings_of_server() -> ServerSettings:
    """Return the settings in force that decide which embedded server this process uses."""
    settings = get_current_settings()
    server = settings.server
    secrets = (server.database.connection_url, server.api.auth_string)
    database, auth_string = ("" if x is None else x.get_secret_value() for x in secrets)
    variables = settings.to_environment_variables(exclude_unset=True)
    return ServerSettings(Path(settings.home), database, auth_string, variables)


def api_problem() -> Exception | None:
    """Return None if the API in effect answers within seconds, else why it does not."""
    try:
        # Prefect's client has keys, certificates and headers; by default it retries for long.
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": _ANSWER_SECONDS}) as client,
        ):
            return client.api_healthcheck()
    except Exception as error:
        return error


def unavailable(url: str, problem: Exception) -> PrefectUnavailable:
    """Return the error for a user whose API does not answer, or refuses access.

    Args:
        url: Address of the API.
        problem: The result of `api_problem`, or the error of a request.
    """
    source = f"PREFECT_API_URL (profile `{get_current_settings().profiles_path}`)"
    if "PREFECT_API_URL" in os.environ:
        source = "PREFECT_API_URL"
    reason, advice = str(problem) or type(problem).__name__, "Start it, or"
    if isinstance(problem, httpx.TimeoutException):
        reason = f"no answer within {_ANSWER_SECONDS:.0f} s"
    what = f"does not answer ({reason})"
    if isinstance(problem, httpx.HTTPStatusError):
        status = problem.response.status_code
        what = f"answers with an error ({problem.request.url}: HTTP {status})"
        if status in _UNAUTHORIZED:
            what = f"does not let us in (HTTP {status})"
            advice = (
                "Set PREFECT_API_KEY, for Prefect Cloud, or PREFECT_API_AUTH_STRING, for a server "
                "of one's own, to what it demands, or"
            )
    return PrefectUnavailable(
        f"the Prefect API at {url}, set by {source}, {what}. {advice} unset PREFECT_API_URL to "
        "have a server started for this run, or do without Prefect with `orchestrate=False` or "
        "PREFECT_TUNE_ORCHESTRATE=0."
    )


def _require_api(url: str) -> None:
    problem = api_problem()
    if problem is not None:
        raise unavailable(url, problem) from problem
