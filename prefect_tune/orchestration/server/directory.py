"""`ServerDirectory`: the directory where processes find the embedded server that they share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_ANNOUNCEMENT, _MUTEX, _RUNNING, _LOG = "server.json", "mutex", "running", "server.log"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of Prefect that decide which embedded server a process uses.

    Attributes:
        home: Prefect's home directory.
        database: URL of the database.
        auth_string: What clients have to send; "" for nothing.
        variables: All settings in force, as environment variables.
    """

    home: Path
    database: str
    auth_string: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Path of the `ServerDirectory` of this home, database, Prefect version and machine."""
        parts = (
            importlib.metadata.version("prefect"),
            socket.gethostname(),
            self.database,
            self.auth_string,
        )
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        return self.home / "prefect_tune" / f"server-{key}"


class ServerDirectory:
    """Directory in which the embedded server of a Prefect database is announced.

    It works by file locks, which the kernel releases however a process ends. The holder of `locked`
    may announce a server, join the announced one, or withdraw it. A server holds the lock of its
    announcement as long as it lives.

    Args:
        path: The directory, which is created if missing.

    Attributes:
        path: See above.
        log: File for the server's log.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self.log = path / _LOG

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from announcing, joining and withdrawing; to be held briefly."""
        with _opened(self.path / _MUTEX) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until the previous server has ended, and keep others from running meanwhile."""
        with _opened(self.path / _RUNNING) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    def announce(self, port: int, control_port: int) -> int:
        """Announce a server that is about to be started.

        Args:
            port: Port of its API.
            control_port: Port to which its users connect.

        Returns:
            A descriptor for the server process; the announcement is valid while it is open.
        """
        self.withdraw()
        fd = os.open(self.path / _ANNOUNCEMENT, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, json.dumps({"port": port, "control": control_port}).encode())
        return fd

    def withdraw(self) -> None:
        """Remove the announcement, so that nobody joins the server any more."""
        (self.path / _ANNOUNCEMENT).unlink(missing_ok=True)

    def join(self) -> tuple[int, socket.socket] | None:
        """Connect to the announced server, if it lives.

        Returns:
            The port of its API, and a connection that keeps it alive; None if no server lives.

        Raises:
            OSError: If the server lives but does not accept the connection.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            _opened(self.path / _ANNOUNCEMENT, os.O_RDWR) as fd,
        ):
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                ports = json.loads(os.read(fd, 1000))
                control = socket.create_connection((_LOOPBACK, ports["control"]), timeout=5)
                control.settimeout(None)
                os.pwrite(fd, b"\n", os.fstat(fd).st_size)
                return ports["port"], control
        return None  # no server is announced, or its process has ended and released the lock

    @property
    def is_joined(self) -> bool:
        """True if other processes than the one that announced the server have joined it."""
        try:
            return (self.path / _ANNOUNCEMENT).read_bytes().endswith(b"\n")
        except OSError:
            return False


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
