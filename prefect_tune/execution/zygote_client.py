"""The agent's connection to a zygote, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

from prefect_tune.error import ClusterError
from prefect_tune.execution.wire import Frame, FrameBuffer, encode
from prefect_tune.execution.zygote_wire import ExitStatus, Message, Refusal

_RECEIVE_BYTES = 1 << 18
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from prefect_tune.execution.native_threads import limit_to_one; before = limit_to_one(); "
    "from prefect_tune.execution.zygote import main; main(int(sys.argv[1]), before)"
)


class Refused(Exception):
    """The zygote could not do what it was asked.

    Args:
        refusal: Its reason.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"{refusal.kind}: {refusal.message}")


class ZygoteClient:
    """A zygote process and the conversation with it.

    The process starts in the constructor, which does not wait for it; every other method belongs to
    the event loop of the first request.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sock = ours
        with theirs:
            # Not multiprocessing: a Dask worker below a nanny is daemonic and may not use it. Its
            # own session, so that Ctrl-C in the terminal reaches only the driver.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._next_seq = 0
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._exits: dict[int, asyncio.Future[ExitStatus]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._closed = False
        self._lost = False  # the connection ended, maybe before the process can be collected

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the zygote is gone."""
        return not (self._closed or self._lost) and self._process.poll() is None

    async def request(
        self, message: Message, payload: object, descriptors: tuple[int, ...] = ()
    ) -> Any:
        """Send a request and wait for its reply.

        Raises:
            Refused: If the zygote could not do it.
            ClusterError: If the zygote died.
        """
        loop = asyncio.get_running_loop()
        if self._reader is None:
            self._reader = loop.create_task(self._read(), name="zygote")
        self._next_seq += 1
        seq = self._next_seq
        reply = self._replies[seq] = loop.create_future()
        try:
            async with self._sending:
                await self._send(encode(message, seq, pickle.dumps(payload)), descriptors)
            return await reply
        except OSError as error:
            self._lost = True
            raise self._death() from error
        finally:
            self._replies.pop(seq, None)

    async def start(
        self, payload: object, descriptor: int
    ) -> tuple[int, asyncio.Future[ExitStatus]]:
        """Start a trial process; returns its id and the future of its exit.

        Raises:
            Refused: If it could not be started.
            ClusterError: If the zygote died.
        """
        started: tuple[int, asyncio.Future[ExitStatus]] = await self.request(
            Message.START, payload, (descriptor,)
        )
        return started

    def close(self) -> None:
        """End the zygote and all its trial processes."""
        if self._closed:
            return
        self._closed = True
        # Not only close: a process that somebody forked from ours may hold a copy of the socket.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._reader is None:
            self._sock.close()
            self._collect()

    def _collect(self) -> None:
        # It ends within milliseconds, but no event loop should wait for that.
        threading.Thread(target=self._process.wait, name="zygote-end", daemon=True).start()

    async def _send(self, data: bytes, descriptors: tuple[int, ...]) -> None:
        loop = asyncio.get_running_loop()
        sent = 0
        while not sent:
            try:
                sent = socket.send_fds(self._sock, [data], descriptors)
            except BlockingIOError:
                await self._writable()
        if sent < len(data):
            await loop.sock_sendall(self._sock, data[sent:])

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(self._sock, _set_if_waiting, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._sock)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        buffer = FrameBuffer()
        try:
            while data := await loop.sock_recv(self._sock, _RECEIVE_BYTES):
                for frame in buffer.feed(data):
                    self._receive(frame)
        except OSError:
            pass  # as good as the end of the stream
        finally:
            self._lost = True
            self._sock.close()
            self._resolve_all()
            self._collect()

    def _receive(self, frame: Frame) -> None:
        payload = pickle.loads(frame.payload)
        if frame.kind == Message.EXITED:
            pid, status = payload
            # The number may come again, so a process that is gone is forgotten at once.
            _resolve(self._exits.pop(pid), status)
            return
        if frame.kind == Message.STARTED:
            # Registered before the requester wakes up: the exit may follow in the same read.
            exited = asyncio.get_running_loop().create_future()
            self._exits[payload] = exited
            payload = (payload, exited)
        reply = self._replies.get(frame.seq)
        if reply is None or reply.done():
            return
        if frame.kind == Message.REFUSED:
            reply.set_exception(Refused(payload))
        else:
            reply.set_result(payload)

    def _resolve_all(self) -> None:
        """The zygote is gone: its trials die with it and nobody waits for them forever."""
        for pid in self._exits:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for exited in self._exits.values():
            _resolve(exited, ExitStatus(signal=signal.SIGKILL))
        self._exits.clear()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(self._death())

    def _death(self) -> ClusterError:
        host = socket.gethostname()
        if self._closed:
            return ClusterError(f"the trial starter on {host} is closed")
        code = self._process.poll()
        how = f"with exit status {code}" if code is not None else "unexpectedly"
        return ClusterError(
            f"the process that starts trials on {host} ended {how}; "
            "its output is in the worker's log"
        )


def _set_if_waiting(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _resolve(exited: asyncio.Future[ExitStatus], status: ExitStatus) -> None:
    if not exited.done():
        exited.set_result(status)
