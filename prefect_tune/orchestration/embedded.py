"""A Prefect server of our own: one per process, for those who have not configured any."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from prefect.settings import get_current_settings

from prefect_tune.error import PrefectUnavailable

#: Seconds a start may take: the first one on a slow disk migrates a new database.
START_TIMEOUT = 120.0
_SILENT_SECONDS = 8.0
_STOP_SECONDS = 15.0

# Defaults, not orders: whoever sets one of these in the environment or a profile keeps it.
_SERVER_DEFAULTS = {
    # One transaction per event, Prefect's default, falls behind a sweep by minutes.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    # A server that lives as long as a script must not schedule, or call late, what a lasting
    # server of the same database is there for.
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}


class EmbeddedServer:
    """A Prefect server process that ends with this one.

    It uses the Prefect database that a server started by hand would use, and shows the UI.

    Args:
        overrides: Environment variables for the server that win over all others.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port: int = self._listener.getsockname()[1]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - until `stop`
        self._pid = os.getpid()
        self._started = time.monotonic()
        self._ready = False
        self._listening = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = self._spawn(theirs, overrides or {})
        # From here on only the server holds the listener: if it dies, clients are refused.
        self._listener.close()
        atexit.register(self.stop)

    @property
    def ui_url(self) -> str:
        """Address for a browser."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        """Address for clients."""
        return f"{self.ui_url}/api"

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def wait_ready(self, say: Callable[[str], None], timeout: float = START_TIMEOUT) -> None:
        """Wait until the server answers.

        Args:
            say: Takes a line for the user if the wait becomes noticeable.
            timeout: Seconds since the start of the server after which to give up.

        Raises:
            PrefectUnavailable: If the server ended or did not get ready in time.
        """
        told = self._ready
        while not self._ready:
            elapsed = time.monotonic() - self._started
            if elapsed > timeout:
                raise PrefectUnavailable(
                    f"the embedded Prefect server is not ready after {elapsed:.0f} s; {_WAY_OUT}"
                    f"{self._last_lines()}"
                )
            if elapsed > _SILENT_SECONDS and not told:
                told = True
                say(
                    f"waiting for the embedded Prefect server on {self.ui_url} "
                    "(a new Prefect database takes longest) ..."
                )
            with self._listening:  # several sweeps of this process may wait
                if not self._ready:
                    self._ready = self._hears()

    def _hears(self) -> bool:
        """Listen for a moment to what the server says: that it is ready."""
        readable, _, _ = select.select([self._control], [], [], 0.25)
        if readable and not self._control.recv(16):
            code = self._process.wait()
            raise PrefectUnavailable(
                f"the embedded Prefect server ended with exit code {code} while starting; "
                f"{_WAY_OUT}{self._last_lines()}"
            )
        return bool(readable)

    def stop(self) -> None:
        """End the server; events that it has received are written first."""
        if os.getpid() != self._pid:
            return  # a fork of ours: the server is not its own to stop
        atexit.unregister(self.stop)
        self._control.close()
        if not self._ready:  # nobody has used it: no reason to wait until it hears of its end
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_STOP_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _spawn(
        self, theirs: socket.socket, overrides: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        fds = (self._listener.fileno(), theirs.fileno())
        module = "prefect_tune.orchestration.server_process"
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, fds)],
            pass_fds=fds,
            env={**self._environment(), **overrides},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the sweep; the server has to record how it ended.
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        settings: dict[str, Any] = get_current_settings().to_environment_variables(
            exclude_unset=True
        )
        environment = {**_SERVER_DEFAULTS, **os.environ, **settings}
        # Loaded modules may come from paths that only this process knows.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["PREFECT_SERVER_API_HOST"] = "127.0.0.1"
        environment["PREFECT_SERVER_API_PORT"] = str(self._port)
        environment["PREFECT_API_URL"] = self.api_url
        environment["PREFECT_UI_API_URL"] = self.api_url
        environment["PREFECT_UI_ENABLED"] = "true"
        return environment

    def _last_lines(self, count: int = 15) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return "\n" + "\n".join(lines[-count:]) if lines else ""


_WAY_OUT = (
    "start one with `prefect server start` and set PREFECT_API_URL, or do without with "
    "`orchestrate=False` or PREFECT_TUNE_ORCHESTRATE=0"
)
