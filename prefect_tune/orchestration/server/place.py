"""Where the processes of one Prefect home find the embedded server that they share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import prefect
from prefect.settings import get_current_settings

_LOOPBACK = "127.0.0.1"
_ANNOUNCEMENT, _MUTEX, _RUNNING, _LOG = "server.json", "mutex", "running", "server.log"


class ServerPlace:
    """The directory in which the one embedded server of a Prefect database is announced.

    Everything here is decided by file locks, which the kernel releases however a process ends:
    whoever holds `locked` may announce a server, join the announced one, or withdraw it, and the
    lock of an announcement is held by its server for as long as that lives.

    Args:
        directory: The directory; it is made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / _LOG

    @classmethod
    def of_settings(cls) -> ServerPlace:
        """The place of the Prefect home and database in effect, for this version of Prefect.

        Raises:
            OSError: If there can be none, as in a home that is not writable.
        """
        settings = get_current_settings()
        secrets = (settings.server.database.connection_url, settings.server.api.auth_string)
        parts = [prefect.__version__, socket.gethostname(), *map(_plain, secrets)]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        return cls(Path(settings.home) / "prefect_tune" / f"server-{key}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from announcing, joining and withdrawing; held for a moment."""
        with _opened(self.directory / _MUTEX) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until the server before this one has ended, and be the only one that runs."""
        with _opened(self.directory / _RUNNING) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    def announce(self, port: int, control_port: int) -> int:
        """Announce a server that is about to be started.

        Args:
            port: Of its API.
            control_port: Where its users connect to.

        Returns:
            A descriptor for the server process to hold: the announcement is good while it is open.
        """
        self.withdraw()
        fd = os.open(self.directory / _ANNOUNCEMENT, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, json.dumps({"port": port, "control": control_port}).encode())
        return fd

    def withdraw(self) -> None:
        """Let nobody join the announced server any more."""
        (self.directory / _ANNOUNCEMENT).unlink(missing_ok=True)

    def join(self) -> tuple[int, socket.socket] | None:
        """Connect to the announced server, if it lives.

        Returns:
            The port of its API, and the connection that keeps it alive; None if there is none.

        Raises:
            OSError: If it lives, but cannot be connected to.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            _opened(self.directory / _ANNOUNCEMENT, os.O_RDWR) as fd,
        ):
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                ports = json.loads(os.read(fd, 1000))
                control = socket.create_connection((_LOOPBACK, ports["control"]), timeout=5)
                control.settimeout(None)
                os.pwrite(fd, b"\n", os.fstat(fd).st_size)
                return ports["port"], control
        return None  # none is announced, or its process has gone, and the lock with it

    @property
    def is_joined(self) -> bool:
        """True if others than the one that announced the server have joined it."""
        try:
            return (self.directory / _ANNOUNCEMENT).read_bytes().endswith(b"\n")
        except OSError:
            return False


def _plain(secret: object) -> str:
    reveal = getattr(secret, "get_secret_value", None)
    return str(reveal() if reveal is not None else secret)


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
