"""`EmbeddedServer`: a Prefect server for users who have not configured one."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prefect_tune.error import PrefectUnavailable
from prefect_tune.orchestration.server.directory import ServerDirectory, ServerSettings
from prefect_tune.orchestration.server.without_prefect import ConfiguredServer, known_server

_logger = logging.getLogger("prefect_tune")

#: Seconds that a start may take; the first one creates the database, maybe on a slow disk.
START_TIMEOUT = 300.0
_SILENT_SECONDS = 8.0
#: Seconds after which a server without users ends even if its shutdown is not done.
LONGEST_END = 15
#: Lines of the server's log that an error shows.
_LOG_LINES = 15
_NEW_LOG = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

# Defaults: a value in the environment or a profile wins.
_SERVER_DEFAULTS = {
    # One transaction per event, Prefect's default, falls behind a sweep by minutes.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    # A server that lives as long as a script must not schedule the runs of a lasting server of
    # the same database, or mark them as late.
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}


class EmbeddedServer:
    """Prefect server for users who have not configured one.

    There is one for each Prefect home: processes that need one at the same time share it, and it
    ends with the last of them. It uses the Prefect database that a server started by hand would
    use, and serves the UI.

    Args:
        settings: The settings of Prefect in force.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._variables = settings.variables
        self._pid = os.getpid()
        self._started = time.monotonic()
        self._ready = False
        self._listening = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None
        try:
            self._directory = ServerDirectory(settings.directory)
            self._port, self._control = self._join_or_start()
        except OSError as error:
            # The home is not writable, or its file system has no locks.
            _logger.debug("The embedded Prefect server is not shared: %s", error)
            self._private = Path(tempfile.mkdtemp(prefix="prefect_tune_server_"))
            self._directory = ServerDirectory(self._private)
            self._port, self._control = self._join_or_start()
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
        if self._process is not None and self._process.poll() is not None:
            return False
        try:
            return bool(self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def wait_ready(self, say: Callable[[str], None]) -> None:
        """Wait until the server answers.

        Args:
            say: Called with a line for the user if the wait becomes noticeable.

        Raises:
            PrefectUnavailable: If the server ended or did not get ready in time.
        """
        told = self._ready
        while not self._ready:
            elapsed = time.monotonic() - self._started
            if elapsed > START_TIMEOUT:
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
                    self._ready = self._has_said_ready(0.25)

    @property
    def is_ready(self) -> bool:
        """True if the server answers by now.

        Raises:
            PrefectUnavailable: If the server has ended.
        """
        with self._listening:
            self._ready = self._ready or self._has_said_ready(0)
        return self._ready

    def _has_said_ready(self, seconds: float) -> bool:
        """Return True if the server says within some seconds that it is ready."""
        readable, _, _ = select.select([self._control], [], [], seconds)
        if readable and not _received(self._control):
            code = "" if self._process is None else f" with exit code {self._process.wait()}"
            raise PrefectUnavailable(
                f"the embedded Prefect server ended{code} while starting; "
                f"{_WAY_OUT}{self._last_lines()}"
            )
        return bool(readable)

    def stop(self) -> None:
        """Leave the server; if nobody else uses it, it writes all events and ends."""
        if os.getpid() != self._pid:
            return  # a fork of this process, which keeps the server
        atexit.unregister(self.stop)
        if not self._ready:
            self._kill_unused()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
            self._control.settimeout(LONGEST_END)
            # Ends at once if others use the server, else with the process of the server.
            while self._ready and _received(self._control):
                pass
        self._control.close()
        if self._process is not None:
            self._process.poll()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def _kill_unused(self) -> None:
        """Kill a server that nobody has used yet, which needs no orderly end."""
        if self._process is None:
            return
        with contextlib.suppress(OSError), self._directory.locked():
            if not self._directory.is_joined:
                self._directory.withdraw()
                self._process.kill()
                self._process.wait()

    def _join_or_start(self) -> tuple[int, socket.socket]:
        """Return the port of the API, and a connection that keeps the server alive."""
        with self._directory.locked():
            return self._directory.join() or self._start()

    def _start(self) -> tuple[int, socket.socket]:
        with (
            socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
            socket.create_server(("127.0.0.1", 0), backlog=128) as control,
        ):
            port, control_address = listener.getsockname()[1], control.getsockname()
            announcement = self._directory.announce(port, control_address[1])
            try:
                connection = socket.create_connection(control_address)
                self._process = self._spawn(
                    port, (listener.fileno(), control.fileno()), announcement
                )
            finally:
                os.close(announcement)
        # Now only the server holds the listeners, so that clients are refused if it dies.
        return port, connection

    def _spawn(self, port: int, fds: tuple[int, int], announcement: int) -> subprocess.Popen[bytes]:
        module = "prefect_tune.orchestration.server.process"
        with open(os.open(self._directory.log, _NEW_LOG, 0o600), "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(self._directory.path), *map(str, fds)],
                pass_fds=(*fds, announcement),
                env=self._environment(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C must end only the sweep, whose end the server has to record.
                start_new_session=True,
            )

    def _environment(self, port: int) -> dict[str, str]:
        return {
            **_SERVER_DEFAULTS,
            **os.environ,
            **self._variables,
            # Loaded modules may come from paths that only this process knows.
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_UI_ENABLED": "true",
        }

    def _last_lines(self) -> str:
        try:
            lines = self._directory.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return "\n" + "\n".join(lines[-_LOG_LINES:]) if lines else ""


class ProcessServer:
    """The embedded server of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._server: EmbeddedServer | None = None
        self._pid = 0

    def get(self) -> EmbeddedServer | None:
        """Return the embedded server of this process, but not that of a parent; None if none is."""
        return self._server if self._pid == os.getpid() else None

    def start(self, settings: ServerSettings) -> EmbeddedServer:
        """Start the server, or join one; child processes and Prefect find it by their environment.

        Call it with `lock` held.
        """
        # The address of an embedded server that died must not become a setting of the new one.
        os.environ.pop("PREFECT_API_URL", None)
        self._server, self._pid = EmbeddedServer(settings), os.getpid()
        os.environ["PREFECT_API_URL"] = self._server.api_url
        return self._server

    def start_without_prefect(self) -> EmbeddedServer | ConfiguredServer | None:
        """Return the server to use, started if it is an embedded one, without importing Prefect.

        Return None if only Prefect can say which, or the configured server does not answer.
        """
        with self.lock:
            server = self.get()
            if (
                server is not None
                and server.alive
                and os.environ.get("PREFECT_API_URL") == server.api_url
            ):
                return server
            known = known_server()
            return self.start(known) if isinstance(known, ServerSettings) else known


process_server = ProcessServer()


def _received(control: socket.socket) -> bytes:
    """Receive what the server has sent; b"" if it has ended."""
    try:
        return control.recv(16)
    except ConnectionError:
        return b""


_WAY_OUT = (
    "start one with `prefect server start` and set PREFECT_API_URL, or do without with "
    "`orchestrate=False` or PREFECT_TUNE_ORCHESTRATE=0"
)
