"""Trial processes that wait for another trial (`reuse_actors`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from prefect_tune.execution.protocol.zygote_messages import ExitStatus

#: Seconds that `cleanup` of user code may take when a process is not needed any more.
CLEANUP_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class IdleProcess:
    """A trial process between two trials.

    Attributes:
        sock: The agent's end of its connection.
        pid: Its process id.
        exited: Resolves when it is gone.
        env: The environment variables that it was started with: what it reads from them, such as
            the GPUs it sees, it has read for good.
    """

    sock: socket.socket
    pid: int
    exited: asyncio.Future[ExitStatus]
    env: Mapping[str, str]


class IdleProcesses:
    """Those of one experiment on one node."""

    def __init__(self) -> None:
        self._processes: list[IdleProcess] = []

    @property
    def waiting(self) -> bool:
        """True if there is any."""
        return bool(self._processes)

    def add(self, process: IdleProcess) -> None:
        """Keep a process for another trial."""
        self._processes.append(process)

    def pop(self, env: Mapping[str, str]) -> IdleProcess | None:
        """A process for a trial with these variables; None if there is none.

        If there are others, the one that has waited longest is let go, so that what it holds (a
        model in memory, a GPU) is free for the new one.
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
        """Let all go, and wait for their end, but not for long."""
        exits = [process.exited for process in self._processes]
        for process in list(self._processes):
            self._let_go(process)
        if exits:
            await asyncio.wait(exits, timeout=CLEANUP_S)

    def _let_go(self, process: IdleProcess) -> None:
        self._processes.remove(process)
        # Where its connection ends, it ends by itself.
        with contextlib.suppress(OSError):
            process.sock.shutdown(socket.SHUT_RDWR)
        process.sock.close()
