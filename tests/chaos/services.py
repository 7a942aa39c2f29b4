"""The processes around a sweep: a Dask cluster, a Prefect server. Killed ones are started again."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

_READY_S = 120.0


class Service:
    """One process that is started again when it has died.

    Args:
        name: Of its log file.
        command: What to run.
        environ: With what environment.
        directory: Takes the log.
        pause: Seconds between death and new start.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environ: Mapping[str, str],
        directory: Path,
        pause: float = 0.3,
    ) -> None:
        self._command = command
        self._environ = dict(environ)
        self._log = directory / f"{name}.log"
        self._directory = directory
        self._pause = pause
        self._process: subprocess.Popen[bytes] | None = None
        self._died = 0.0

    @property
    def pid(self) -> int:
        """Process id; 0 while it is not there."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it if it does not run."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._directory,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def tend(self) -> None:
        """Notice that it has died; start it again when the pause is over."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._died = time.monotonic()
        if self._process is None and time.monotonic() - self._died >= self._pause:
            self.start()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._died = time.monotonic()

    def stop(self) -> None:
        """End it and what it has started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.kill()
        self._process.wait()
        self._process = None


class DaskCluster:
    """A scheduler and two workers, each a process.

    Args:
        environ: Environment of all.
        directory: Takes logs.
        hidden: A directory that the workers do not see, as if they were on another machine.
    """

    def __init__(
        self, environ: Mapping[str, str], directory: Path, hidden: Path | None = None
    ) -> None:
        port = free_port()
        self._port = port
        self.address = f"tcp://127.0.0.1:{port}"
        python = [sys.executable, "-m"]
        scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        worker = ["distributed.cli.dask_worker", self.address, "--host", "127.0.0.1"]
        worker += ["--nthreads", "2", "--resources", "CPU=2", "--no-dashboard"]
        # "apart" asks for a mount of its own, in which the directory is empty.
        ahead = [] if hidden is None else _without(hidden)
        start = functools.partial(Service, environ=environ, directory=directory)
        self._scheduler = start("scheduler", [*python, *scheduler, "--no-dashboard"])
        # One with a nanny, as `dask worker` starts them, one without.
        self._workers = [
            start(f"worker-{number}", [*ahead, *python, *worker, nanny])
            for number, nanny in enumerate(["--nanny", "--no-nanny"])
        ]

    @property
    def pids(self) -> list[int]:
        """The processes under which trials run."""
        return [worker.pid for worker in self._workers if worker.pid]

    def start(self) -> None:
        """Start what does not run, and wait for the scheduler."""
        for service in (self._scheduler, *self._workers):
            service.start()
        wait_for(lambda: _listens(self._port), "the Dask scheduler", self.tend)

    def tend(self) -> None:
        """Start again what has died."""
        for service in (self._scheduler, *self._workers):
            service.tend()

    def kill_scheduler(self) -> None:
        """SIGKILL to the scheduler."""
        self._scheduler.kill()

    def kill_worker(self, number: int) -> None:
        """SIGKILL to a worker itself, not to its nanny."""
        service = self._workers[number % len(self._workers)]
        if not service.pid:
            return
        own = psutil.Process(service.pid)
        forked = [c for c in own.children() if "multiprocessing.spawn" in " ".join(c.cmdline())]
        for process in forked:
            process.kill()
        if not forked:
            service.kill()

    def stop(self) -> None:
        """End everything."""
        for service in (*self._workers, self._scheduler):
            service.stop()


class PrefectServer:
    """A Prefect server with a database of its own.

    Args:
        environ: Its environment.
        directory: Takes database and log.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        port = free_port()
        self.api_url = f"http://127.0.0.1:{port}/api"
        home = directory / "prefect"
        environ = {**environ, "PREFECT_HOME": str(home), "PREFECT_API_URL": self.api_url}
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        self._service = Service("prefect", command, environ, directory, pause=2.0)

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""
        self._service.start()
        wait_for(self._answers, "the Prefect server", self.tend)

    def tend(self) -> None:
        """Start it again if it has died."""
        self._service.tend()

    def kill(self) -> None:
        """SIGKILL."""
        self._service.kill()

    def stop(self) -> None:
        """End it."""
        self._service.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def can_mount() -> bool:
    """Whether this user may mount something in a mount namespace of its own."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def wait_for(ready: Callable[[], bool], what: str, tend: Callable[[], None]) -> None:
    """Wait until something is ready, tending to it meanwhile.

    Raises:
        TimeoutError: If it is not within two minutes.
    """
    deadline = time.monotonic() + _READY_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} has not come up in {_READY_S:.0f} s")
        tend()
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _without(hidden: Path) -> list[str]:
    script = f'mount -t tmpfs tmpfs "{os.fspath(hidden)}" && exec "$0" "$@"'
    return ["unshare", "--mount", "sh", "-c", script]


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0
