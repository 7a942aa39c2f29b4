"""One process of distributed training, and its connection to the first of them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.trainable.runtime.variables import device_variables


@dataclass(frozen=True, slots=True)
class Member:
    """Which of a trial's training processes this one is.

    Attributes:
        rank: Its number, 0 for the process of the trial itself.
        size: How many there are.
        local_rank: Its number among those of its host.
        local_size: How many there are on its host.
        node_rank: Number of its host.
        host: Address under which the others reach it.
        bundle: Place of its bundle in the trial's request.
        devices: Ids of its GPUs.
        threads: Threads for its CPUs; None if its process has as many by itself.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    node_rank: int
    host: str
    bundle: int
    devices: tuple[str, ...] = ()
    threads: int | None = None

    def __str__(self) -> str:
        return f"worker {self.rank} of {self.size}"


#: Gives every worker one value, and takes the values of all, by rank; see `Backend`.
Exchange = Callable[[Any], list[Any]]
#: What a framework needs around the training function. It is called in each worker, may exchange
#: one value (plain data) with the others, and is picklable.
Backend = Callable[[Member, Exchange], AbstractContextManager[None]]

_current: tuple[Member, Exchange] | None = None


def enter(member: Member, exchange: Exchange) -> None:
    """Make this process a member: it knows its rank, and sees its own GPUs only."""
    global _current
    _current = member, exchange
    os.environ.update(
        RANK=str(member.rank),
        WORLD_SIZE=str(member.size),
        LOCAL_RANK=str(member.local_rank),
        LOCAL_WORLD_SIZE=str(member.local_size),
        GROUP_RANK=str(member.node_rank),
    )
    if member.devices:
        os.environ.update(device_variables(member.devices))


def current_membership() -> tuple[Member, Exchange] | None:
    """Return what `enter` was called with in this process; None if it is no worker."""
    return _current


def current_member() -> Member | None:
    """Return which of a trial's training processes this one is; None if it is none."""
    return None if _current is None else _current[0]


class Line:
    """Messages between a worker and the first one: JSON, one a line; either end may be gone.

    Args:
        sock: The connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rwb")

    def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: If the other end is gone.
        """
        self._file.write(json.dumps(message).encode() + b"\n")
        self._file.flush()

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message; None if the other end is gone."""
        try:
            line = self._file.readline()
        except OSError:
            return None
        message = json.loads(line) if line.endswith(b"\n") else None
        return message if isinstance(message, dict) else None

    def send_directory(self, path: str) -> None:
        """Send the files of a directory.

        Raises:
            OSError: If the other end is gone, or a file cannot be read.
        """
        with tarfile.open(fileobj=self._file, mode="w|") as archive:
            archive.add(path, ".")
        self._file.flush()

    def receive_directory(self, path: str) -> None:
        """Receive what `send_directory` sends.

        Raises:
            OSError: If it cannot be written.
            tarfile.TarError: If the other end is gone.
        """
        with tarfile.open(fileobj=self._file, mode="r|") as archive:
            archive.extractall(path, filter="data")

    def close(self) -> None:
        """End the connection, also for somebody who waits for a message."""
        with contextlib.suppress(OSError):  # the other end was faster
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@dataclass(frozen=True, slots=True)
class Invitation:
    """How a worker reaches the first one.

    Attributes:
        member: The worker.
        address: Host and port of the first one.
        token: Shows that it is the worker, and not somebody who has found the port.
        timeout_s: Seconds within which it has to have answered.
    """

    member: Member
    address: tuple[str, int]
    token: str
    timeout_s: float

    def accept(self, checkpoint: str | None) -> Line:
        """Connect to the first worker.

        Args:
            checkpoint: Directory into which that is to send the trial's checkpoint, if it is.

        Raises:
            TuneError: If it cannot be reached; says from where, and where to.
        """
        host, port = self.address
        try:
            sock = socket.create_connection(self.address, timeout=self.timeout_s)
        except OSError as error:
            raise TuneError(
                f"{self.member} on host {socket.gethostname()} ({self.member.host}) cannot reach "
                f"worker 0 at {host}, port {port}: {error}. Workers of distributed training "
                "connect to each other at ports that the system chooses; a firewall between their "
                "hosts has to let them."
            ) from error
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = Line(sock)
        line.send({"token": self.token, "rank": self.member.rank, "fetch": checkpoint is not None})
        if checkpoint is not None:
            line.receive_directory(checkpoint)
        return line
