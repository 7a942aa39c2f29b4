"""How the workers of distributed training know their ranks and connect to the first worker."""

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
from prefect_tune.trainable.runtime.environment import device_variables


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Rank, host and devices of one worker: a process that trains a trial together with others.

    Attributes:
        rank: Number of the worker, 0 for the process of the trial itself.
        size: Number of workers.
        local_rank: Number of the worker among those of its host.
        local_size: Number of workers on its host.
        node_rank: Number of its host.
        host: Address at which other workers reach it.
        bundle: Index of its bundle in the trial's request.
        devices: Ids of its GPUs.
        threads: Threads for its CPUs; None leaves the number as its process has it.
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


#: Sends one value to all workers, and returns the values of all by rank; see `Backend`.
Exchange = Callable[[Any], list[Any]]
#: Makes the context in which a framework's training function runs. It is called in each worker,
#: may exchange one value (plain data) with the others, and is picklable.
Backend = Callable[[WorkerInfo, Exchange], AbstractContextManager[None]]

_current: tuple[WorkerInfo, Exchange] | None = None


def set_current_worker(worker: WorkerInfo, exchange: Exchange) -> None:
    """Set which worker this process is, with its environment variables for rank and GPUs."""
    global _current
    _current = worker, exchange
    os.environ.update(
        RANK=str(worker.rank),
        WORLD_SIZE=str(worker.size),
        LOCAL_RANK=str(worker.local_rank),
        LOCAL_WORLD_SIZE=str(worker.local_size),
        GROUP_RANK=str(worker.node_rank),
    )
    if worker.devices:
        os.environ.update(device_variables(worker.devices))


def current_worker_and_exchange() -> tuple[WorkerInfo, Exchange] | None:
    """Return the arguments of `set_current_worker` in this process; None if it is no worker."""
    return _current


def current_worker() -> WorkerInfo | None:
    """Return which worker this process is; None if it is no worker."""
    return None if _current is None else _current[0]


class WorkerConnection:
    """Connection between a worker and the first one, with JSON messages and directories.

    Args:
        sock: The connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rwb")

    def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: If the other process has ended.
        """
        self._file.write(json.dumps(message).encode() + b"\n")
        self._file.flush()

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message; return None if the other process has ended."""
        try:
            line = self._file.readline()
        except OSError:
            return None
        message = json.loads(line) if line.endswith(b"\n") else None
        return message if isinstance(message, dict) else None

    def send_directory(self, path: str) -> None:
        """Send the files of a directory.

        Raises:
            OSError: If the other process has ended, or a file cannot be read.
        """
        with tarfile.open(fileobj=self._file, mode="w|") as archive:
            archive.add(path, ".")
        self._file.flush()

    def receive_directory(self, path: str) -> None:
        """Write the files that `send_directory` sends into a directory.

        Raises:
            OSError: If a file cannot be written.
            tarfile.TarError: If the other process has ended.
        """
        with tarfile.open(fileobj=self._file, mode="r|") as archive:
            archive.extractall(path, filter="data")

    def close(self) -> None:
        """End the connection, and with it a `receive` in another thread."""
        with contextlib.suppress(OSError):  # the other end was faster
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@dataclass(frozen=True, slots=True)
class Invitation:
    """Address and token with which a worker connects to the first one.

    Attributes:
        worker: The worker.
        address: Host and port of the first one.
        token: Proves to the first worker that a connection is from this worker.
        timeout_s: Seconds within which the first worker has to answer.
    """

    worker: WorkerInfo
    address: tuple[str, int]
    token: str
    timeout_s: float

    def accept(self, checkpoint: str | None) -> WorkerConnection:
        """Connect to the first worker.

        Args:
            checkpoint: Directory to fetch the trial's checkpoint into; None fetches nothing.

        Raises:
            TuneError: If the first worker cannot be reached; names both hosts.
        """
        host, port = self.address
        try:
            sock = socket.create_connection(self.address, timeout=self.timeout_s)
        except OSError as error:
            raise TuneError(
                f"{self.worker} on host {socket.gethostname()} ({self.worker.host}) cannot reach "
                f"worker 0 at {host}, port {port}: {error}. Workers of distributed training "
                "connect to each other at ports that the system chooses; a firewall between their "
                "hosts has to let them."
            ) from error
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = WorkerConnection(sock)
        connection.send(
            {"token": self.token, "rank": self.worker.rank, "fetch": checkpoint is not None}
        )
        if checkpoint is not None:
            connection.receive_directory(checkpoint)
        return connection
