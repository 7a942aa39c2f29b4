"""`AttemptHandle`: the process or thread of a running attempt, for its agent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefect_tune.execution.protocol.frames import FrameKind, SocketChannel
from prefect_tune.execution.protocol.helper_messages import ExitCode
from prefect_tune.execution.trial.process import send_end
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.trainable.runner import run_attempt
from prefect_tune.trainable.runtime.attempt import AttemptContext
from prefect_tune.trainable.runtime.metrics import node_identity
from prefect_tune.trainable.runtime.thread_output import copied_output

_logger = logging.getLogger(__name__)
_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 30
_FULL_BYTES = 1 << 20


@dataclass(eq=False)
class AttemptHandle:
    """Started process or thread of an attempt, with its connection and ways to end it.

    Attributes:
        sock: The agent's end of the connection; non-blocking. The agent closes it.
        pid: Process id; that of this process for a thread.
        exited: Resolves when the process or thread has ended.
        stderr: File with the standard error of the process; None for a thread.
        keep: Keeps the process for another attempt, if it can have one.
        over: Resolves when the attempt has ended, though its process waits for another.
    """

    sock: socket.socket
    pid: int
    exited: asyncio.Future[ExitCode]
    stderr: str | None
    keep: Callable[[], None] | None = None
    over: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def wait(self) -> ExitCode:
        """Wait for the attempt's end, and return its process's exit code (0 for a thread)."""
        either: set[asyncio.Future[Any]] = {self.exited, self.over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self.exited.result() if self.exited.done() else 0

    def release(self, usable: bool) -> None:
        """Close the connection, or keep the process for another attempt.

        Args:
            usable: True if the connection has no unread or unsent data.
        """
        if usable and self.keep is not None and self.over.done() and not self.exited.done():
            self.keep()
        else:
            self.sock.close()

    def kill_group(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the attempt's process and its children; do nothing for a thread.

        SIGKILL is sent to the process only: the zygote then ends its children in order.
        """
        if self.stderr is None or self.exited.done():
            return
        send = os.kill if signum == signal.SIGKILL else os.killpg
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, signum)

    def disown_thread(self) -> None:
        """Count a thread as ended, because it cannot be killed; do nothing for a process.

        The thread continues until its next report, which fails.
        """
        if self.stderr is None and not self.exited.done():
            _logger.warning(
                "A trial in a thread does not end. It continues in the background, but its slot is "
                "free for other trials; only trials in processes can be killed."
            )
            self.exited.set_result(-signal.SIGKILL)

    def stderr_tail(self) -> str:
        """Return the last lines of standard error; "" for a thread."""
        if self.stderr is None:
            return ""
        try:
            with open(self.stderr, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])

    def add_details(self, error: AttemptError, directory: Path) -> AttemptError:
        """Add the end of standard error, and a full disk, to an attempt's error.

        Args:
            error: The error that the process sent, or that of `exit_error`.
            directory: The trial's directory.
        """
        # Python also prints an exception that ends a program; it is not repeated.
        stderr = self.stderr_tail().replace(error.traceback.strip(), "").strip()
        if stderr:
            parts = [error.traceback.rstrip(), f"Last lines of stderr:\n{stderr}"]
            error = replace(error, traceback="\n\n".join(filter(None, parts)))
        # Neither Python's error nor a signal says that the disk is full.
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(directory).free
            if free < _FULL_BYTES or os.strerror(errno.ENOSPC) in error.message:
                host = socket.gethostname()
                where = f"the disk of {directory} on {host} has {free >> 20} MB left"
                error = replace(error, message=f"{error.message} ({where})")
        return error


def exit_error(code: ExitCode) -> AttemptError:
    """Return the error of a process that ended without sending one."""
    if code is None:
        starter = "the process that starts trials on its node has died"
        return AttemptError("lost", f"{starter}, and the trial with it")
    if code >= 0:
        return AttemptError(
            "exit",
            f"the trial process exited with status {code} before the trainable returned",
            exit_code=code,
        )
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    message = f"the trial process was killed by {name}"
    if code == -signal.SIGKILL:
        message += ", which was not sent by prefect_tune; maybe the node ran out of memory"
    return AttemptError("signal", message, exit_code=code)


def start_thread(
    context: AttemptContext,
    trainable: Any,
    sock: socket.socket,
    output: tuple[str | Path, str | Path] | None = None,
) -> asyncio.Future[ExitCode]:
    """Run an attempt in a new thread; the thread closes `sock`.

    Args:
        context: Context of the attempt.
        trainable: The function or class.
        sock: The attempt's end of the connection.
        output: Files to which standard output and standard error are appended; None leaves them on
            the console alone.

    Returns:
        Resolves on the running event loop when the thread ends, always with 0: a thread has no
        exit code, its failure is in its last frame.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[ExitCode] = loop.create_future()

    def resolve() -> None:
        if not ended.done():
            ended.set_result(0)

    def run() -> None:
        try:
            # Errors are ignored because the agent may be gone by now.
            with sock, contextlib.suppress(OSError):
                channel = SocketChannel(sock)
                hello = {"pid": os.getpid(), **node_identity()}
                channel.send(FrameKind.HELLO, 0, json.dumps(hello).encode())
                with contextlib.nullcontext() if output is None else copied_output(*output):
                    end = run_attempt(context, trainable, channel, own_process=False)
                send_end(channel, end)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(resolve)

    # A daemon thread, because a trial that hangs must not keep the worker from ending.
    threading.Thread(target=run, name=f"trial-{context.launch.trial_id}", daemon=True).start()
    return ended
