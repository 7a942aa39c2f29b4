"""A Prefect server of our own on loopback, for the measurements that assume a running one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

START_TIMEOUT_S = 120.0


@contextmanager
def running_server() -> Iterator[str]:
    """Start `prefect server` of this interpreter with stock settings; stop it at the end.

    Yields:
        The API address, for a subject's PREFECT_API_URL.

    Raises:
        RuntimeError: The server ended or was not healthy within two minutes.
    """
    port = _free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--analytics-off"]
    home = tempfile.mkdtemp(prefix="bench-prefect-")
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PREFECT_HOME": home, "DO_NOT_TRACK": "1"},
        start_new_session=True,
    )
    try:
        _wait_until_healthy(server, api)
        yield api
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(server: subprocess.Popen[bytes], api: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"prefect server ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"prefect server was not healthy at {api} within {START_TIMEOUT_S:.0f} s")
