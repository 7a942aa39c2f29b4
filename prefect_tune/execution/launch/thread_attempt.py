"""Runs an attempt as a thread of the agent's process, for tiny objectives and debuggers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from prefect_tune.execution.protocol.frames import Kind, SocketChannel
from prefect_tune.execution.protocol.zygote_messages import ExitStatus
from prefect_tune.execution.trial.process import send_end
from prefect_tune.trainable.runner import run_attempt
from prefect_tune.trainable.runtime.attempt import AttemptContext
from prefect_tune.trainable.runtime.node_identity import node_identity
from prefect_tune.trainable.runtime.thread_output import copied_output


def start_thread(
    context: AttemptContext,
    trainable: Any,
    sock: socket.socket,
    output: tuple[str | Path, str | Path] | None = None,
) -> asyncio.Future[ExitStatus]:
    """Run an attempt in a new thread; the thread closes `sock`.

    Args:
        context: Context of the attempt.
        trainable: The function or class.
        sock: The attempt's end of the connection.
        output: Files to which standard output and standard error are appended; None leaves them on
            the console alone.

    Returns:
        Resolves on the running event loop when the thread ends, always with status 0: a thread has
        no exit status, its failure is in its last frame.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[ExitStatus] = loop.create_future()

    def resolve() -> None:
        if not ended.done():
            ended.set_result(ExitStatus(code=0))

    def run() -> None:
        try:
            # Errors are ignored because the agent may be gone by now.
            with sock, contextlib.suppress(OSError):
                channel = SocketChannel(sock)
                hello = {"pid": os.getpid(), **node_identity()}
                channel.send(Kind.HELLO, 0, json.dumps(hello).encode())
                with contextlib.nullcontext() if output is None else copied_output(*output):
                    end = run_attempt(context, trainable, channel, own_process=False)
                send_end(channel, end)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(resolve)

    # A daemon thread, because a trial that hangs must not keep the worker from ending.
    threading.Thread(target=run, name=f"trial-{context.launch.trial_id}", daemon=True).start()
    return ended
