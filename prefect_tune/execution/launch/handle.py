"""`AttemptHandle`: the process or thread of a running attempt, for its agent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from prefect_tune.execution.protocol.zygote_messages import ExitStatus

_logger = logging.getLogger(__name__)
_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 30


class AttemptHandle:
    """Started process or thread of an attempt, with its connection and ways to end it.

    Attributes:
        sock: The agent's end of the connection; non-blocking. The agent closes it.
        pid: Process id; that of this process for a thread.
    """

    def __init__(
        self,
        sock: socket.socket,
        pid: int,
        exited: asyncio.Future[ExitStatus],
        stderr: str | None,
        keep: Callable[[], None] | None = None,
    ) -> None:
        self.sock = sock
        self.pid = pid
        self._exited = exited
        self._stderr = stderr
        self._keep = keep
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set_over(self) -> None:
        """Note that the attempt has ended, though its process waits for another; `wait` returns."""
        if not self._over.done():
            self._over.set_result(None)

    async def wait(self) -> ExitStatus:
        """Wait for the attempt's end, and return its process's exit status (0 for a thread)."""
        either: set[asyncio.Future[Any]] = {self._exited, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self._exited.result() if self._exited.done() else ExitStatus(code=0)

    def release(self, usable: bool) -> None:
        """Close the connection, or keep the process for another attempt.

        Args:
            usable: True if the connection has no unread or unsent data.
        """
        if usable and self._keep is not None and self._over.done() and not self._exited.done():
            self._keep()
        else:
            self.sock.close()

    def kill_group(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the attempt's process and its children; do nothing for a thread.

        SIGKILL is sent to the process only: the zygote then ends its children in order.
        """
        if self._stderr is None or self._exited.done():
            return
        send = os.kill if signum == signal.SIGKILL else os.killpg
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, signum)

    def leave_behind(self) -> None:
        """Count a thread as ended, because it cannot be killed; do nothing for a process.

        The thread continues until its next report, which fails.
        """
        if self._stderr is None and not self._exited.done():
            _logger.warning(
                "A trial in a thread does not end. It continues in the background, but its slot is "
                "free for other trials; only trials in processes can be killed."
            )
            self._exited.set_result(ExitStatus(code=None, signal=signal.SIGKILL))

    def stderr_tail(self) -> str:
        """Return the last lines of standard error; "" for a thread."""
        if self._stderr is None:
            return ""
        try:
            with open(self._stderr, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])
