"""A running attempt, as its agent sees it."""

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


class AttemptHandle:
    """An attempt that has been started, and how to end it.

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
        """The attempt has ended, and its process waits for another one: `wait` returns."""
        if not self._over.done():
            self._over.set_result(None)

    async def wait(self) -> ExitStatus:
        """How the attempt's process (or thread: status 0) ended, once the attempt has."""
        either: set[asyncio.Future[Any]] = {self._exited, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self._exited.result() if self._exited.done() else ExitStatus(code=0)

    def release(self, usable: bool) -> None:
        """Done with it: let the process go, or keep it for another attempt.

        Args:
            usable: Whether nothing is left over in the connection.
        """
        if usable and self._keep is not None and self._over.done() and not self._exited.done():
            self._keep()
        else:
            self.sock.close()

    def kill_group(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """Signal the attempt's process and all its children; nothing for a thread.

        SIGKILL goes to the process alone: the zygote ends its children then, in order.
        """
        if self._stderr is None or self._exited.done():
            return
        send = os.kill if signum == signal.SIGKILL else os.killpg
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, signum)

    def leave_behind(self) -> None:
        """Count a thread, which nobody can end from outside, as ended; nothing for a process.

        It goes on until it reports: there is nobody any more who takes that.
        """
        if self._stderr is None and not self._exited.done():
            _logger.warning(
                "A trial in a thread does not end. It goes on in the background, but its slot is "
                "given away; only trials in processes can be ended by force."
            )
            self._exited.set_result(ExitStatus(code=None, signal=signal.SIGKILL))

    def stderr_tail(self, max_lines: int = 30) -> str:
        """The last lines of standard error; empty for a thread."""
        if self._stderr is None:
            return ""
        try:
            with open(self._stderr, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-max_lines:])
