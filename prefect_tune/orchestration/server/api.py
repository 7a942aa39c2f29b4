"""Which Prefect API this process talks to: the configured one, or an embedded server."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, refresh_global_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    get_current_settings,
    temporary_settings,
)

from prefect_tune.error import PrefectUnavailable
from prefect_tune.orchestration.prefect_internals import server_of_prefect
from prefect_tune.orchestration.server.embedded import EmbeddedServer

_ANSWER_SECONDS = 5.0
_UNAUTHORIZED = (401, 403)

_lock = threading.Lock()
_server: EmbeddedServer | None = None
_server_pid = 0


class PrefectApi:
    """The API of this process, settled now, ready when waited for.

    Made by `start_server_early`.

    Args:
        server: The embedded server; None if another one is used.
        url: Address of the other one; None for the one that the surrounding flow run uses.
    """

    def __init__(self, server: EmbeddedServer | None, url: str | None) -> None:
        self.server = server
        self._url = url

    @property
    def embedded(self) -> bool:
        """True if the server ends with this process, unless another one uses it too."""
        return self.server is not None

    @property
    def is_booting(self) -> bool:
        """True while the embedded server does not answer yet."""
        return self.server is not None and not self.server.is_ready

    @property
    def ui_url(self) -> str | None:
        """Address of the UI of the embedded server, else what the settings say."""
        if self.server is not None:
            return self.server.ui_url
        return get_current_settings().ui_url

    def wait_ready(self, say: Callable[[str], None] = print) -> None:
        """Wait until the API answers.

        Args:
            say: Takes a line for the user if that takes more than a moment.

        Raises:
            PrefectUnavailable: If the configured API does not answer within seconds, or the
                embedded server does not start.
        """
        if self.server is not None:
            self.server.wait_ready(say)
        elif self._url is not None:
            _check(self._url)

    @contextlib.contextmanager
    def in_effect(self) -> Iterator[None]:
        """Have the Prefect code inside use this API, whatever settings the caller is under."""
        if self.server is None:
            yield
            return
        with temporary_settings({PREFECT_API_URL: self.server.api_url}):
            yield


def start_server_early() -> PrefectApi:
    """Settle which API to use, and start the embedded server if there is none; returns at once.

    There is at most one embedded server per Prefect home. It lasts until the last process that uses
    it ends, and its address is put into `PREFECT_API_URL`, so that no other flow of this process
    and no child process starts another.
    """
    if (context := FlowRunContext.get()) is not None:
        ours = _ours()
        # The server that knows the surrounding flow run, which need not be the one we have started.
        known = ours is not None and str(context.client.api_url).rstrip("/") == ours.api_url
        return PrefectApi(ours if known else None, None)
    url = get_current_settings().api.url
    with _lock:
        server = _ours()
        if url and (server is None or url != server.api_url):
            return PrefectApi(None, url)
        if server is None or not server.alive:
            if url := server_of_prefect():
                return PrefectApi(None, url)
            server = _start()
        return PrefectApi(server, None)


def check_lasting_server() -> str:
    """The address of the configured server, for what has to outlive this process.

    Raises:
        PrefectUnavailable: If none is configured or it does not answer.
    """
    url = get_current_settings().api.url
    if not url:
        raise PrefectUnavailable(
            "no Prefect server is configured. Start one with `prefect server start` and set "
            "PREFECT_API_URL."
        )
    _check(url)
    return url


def _start() -> EmbeddedServer:
    global _server, _server_pid
    # The old address, if a server of ours died, must not become the new one's client setting.
    os.environ.pop("PREFECT_API_URL", None)
    _server = EmbeddedServer()
    _server_pid = os.getpid()
    os.environ["PREFECT_API_URL"] = _server.api_url
    refresh_global_settings_context()
    return _server


def _ours() -> EmbeddedServer | None:
    return _server if _server_pid == os.getpid() else None


def api_problem() -> Exception | None:
    """Ask the API in effect whether it is there: None if it answers, else why not, in seconds."""
    try:
        # Prefect's client knows keys, certificates and headers; left alone, it retries for long.
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": _ANSWER_SECONDS}) as client,
        ):
            return client.api_healthcheck()
    except Exception as error:
        return error


def unavailable(url: str, problem: Exception) -> PrefectUnavailable:
    """The error for a user whose API is not there, or will not have us.

    Args:
        url: Its address.
        problem: What `api_problem` gave, or what a request raised.
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


def _check(url: str) -> None:
    problem = api_problem()
    if problem is not None:
        raise unavailable(url, problem) from problem
