"""Trial processes that wait for another trial (`reuse_actors`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from prefect_tune.execution.protocol.zygote_messages import ExitStatus

#: Seconds that user code's `cleanup` may take when a process is ended.
CLEANUP_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class IdleProcess:
    """Trial process that waits for its next trial.

    Attributes:
        sock: The agent's end of the connection.
        pid: Id of the process.
        exited: Resolves when the process has ended.
        env: The environment variables that it was started with. It reads some only once, such as
            those that select GPUs.
    """

    sock: socket.socket
    pid: int
    exited: asyncio.Future[ExitStatus]
    env: Mapping[str, str]


class IdleProcesses:
    """Idle trial processes of one experiment on one node."""

    def __init__(self) -> None:
        self._processes: list[IdleProcess] = []

    @property
    def waiting(self) -> bool:
        """True if there are idle processes."""
        return bool(self._processes)

    def add(self, process: IdleProcess) -> None:
        """Keep a process for another trial."""
        self._processes.append(process)

    def pop(self, env: Mapping[str, str]) -> IdleProcess | None:
        """Return an idle process with these environment variables; None if there is none.

        If only others are idle, the one that has waited longest is ended, so that its resources (a
        model in memory, a GPU) are free for the new process.
        """
        for process in list(self._processes):
            if process.exited.done():
                self._let_go(process)
        for process in reversed(self._processes):
            if process.env == env:
                self._processes.remove(process)
                return process
        if self._processes:
            self._let_go(self._processes[0])
        return None

    async def close(self) -> None:
        """End all idle processes, and wait up to `CLEANUP_S` for their end."""
        exits = [process.exited for process in self._processes]
        for process in list(self._processes):
            self._let_go(process)
        if exits:
            await asyncio.wait(exits, timeout=CLEANUP_S)

    def _let_go(self, process: IdleProcess) -> None:
        self._processes.remove(process)
        # The process ends when its connection is closed.
        with contextlib.suppress(OSError):
            process.sock.shutdown(socket.SHUT_RDWR)
        process.sock.close()
