"""`HelperProcess`: a subprocess of an agent, with requests and replies over a socket."""

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

from typing_extensions import override

from prefect_tune.error import ClusterError
from prefect_tune.execution.protocol.frames import RECEIVE_BYTES, Frame, FrameBuffer, encode
from prefect_tune.execution.protocol.helper_messages import ExitCode, HelperMessage

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
_MAIN = (
    "from prefect_tune.execution.trial.native_threads import limit_to_one; "
    "before = limit_to_one(); "
    "from prefect_tune.execution.trial.zygote import main; main(int(sys.argv[1]), before)"
)
_lock = threading.Lock()
#: Zygotes that were started in advance.
_ready: list[ZygoteClient] = []


class HelperGone(ClusterError):
    """Error for a helper process that ended before it answered."""


class HelperProcess:
    """Subprocess that answers requests on a private socket, in frames with pickles.

    The constructor starts the process without waiting for it; the other methods must be called in
    the event loop of the first request. The process has to end when its socket is closed.

    Args:
        role: Purpose of the process, for messages: ``that starts trials``.
        main: Python statements to run; ``sys.argv[1]`` is the socket's file descriptor.
    """

    def __init__(self, role: str, main: str) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._role = role
        self._sock = ours
        with theirs:
            # Not multiprocessing: a Dask worker below a nanny is daemonic and may not use it. Its
            # own session, so that Ctrl-C in the terminal reaches only the driver.
            fd = theirs.fileno()
            command = [sys.executable, "-P", "-c", _START + main, str(fd), json.dumps(sys.path)]
            self._process = subprocess.Popen(
                command, pass_fds=(fd,), stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._next_seq = 0
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._closed = False
        self._lost = False  # the connection ended, maybe before the process can be collected

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process or its connection has ended."""
        return not (self._closed or self._lost) and self._process.poll() is None

    async def request(
        self, message: int, payload: object, descriptors: tuple[int, ...] = ()
    ) -> Any:
        """Send a request and wait for its reply.

        Args:
            message: Type of the request.
            payload: Content of the request, which is pickled.
            descriptors: File descriptors to send along.

        Raises:
            Exception: If the reply is an error, see `on_message`.
            HelperGone: If the process died.
        """
        loop = asyncio.get_running_loop()
        if self._reader is None:
            self._reader = loop.create_task(self._read(), name=f"helper {self.pid}")
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

    def close(self) -> None:
        """Close the connection, which ends the process."""
        if self._closed:
            return
        self._closed = True
        # Shut down first, because a process forked from this one may hold a copy of the socket.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._reader is None:
            self._sock.close()
            self._collect()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    # -- for derived classes ----------------------------------------------------------------------

    def on_message(self, message: int, payload: Any) -> Any:
        """Convert a reply into the result of its request; called in the order of arrival.

        Raises:
            Exception: If the request failed.
        """
        if message == HelperMessage.FAILED:
            raise payload
        return payload

    def on_gone(self) -> None:
        """Handle the end of the process; called once, and only if a request was ever sent."""

    # -- the conversation -------------------------------------------------------------------------

    def _collect(self) -> None:
        # In a thread, because the event loop must not wait for the end, though it is soon.
        threading.Thread(target=self._process.wait, name="helper-end", daemon=True).start()

    async def _send(self, data: bytes, descriptors: tuple[int, ...]) -> None:
        loop = asyncio.get_running_loop()
        sent = 0
        while not sent:
            try:
                sent = socket.send_fds(self._sock, [data], descriptors)
            except BlockingIOError:
                writable = asyncio.Event()
                loop.add_writer(self._sock, writable.set)
                try:
                    await writable.wait()
                finally:
                    loop.remove_writer(self._sock)
        if sent < len(data):
            await loop.sock_sendall(self._sock, data[sent:])

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        buffer = FrameBuffer()
        try:
            while data := await loop.sock_recv(self._sock, RECEIVE_BYTES):
                for frame in buffer.feed(data):
                    self._receive(frame)
        except OSError:
            pass  # the same as the end of the stream
        finally:
            self._lost = True
            self._sock.close()
            self.on_gone()
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(self._death())
            self._collect()

    def _receive(self, frame: Frame) -> None:
        # Replies are converted even if no request waits for them any more.
        try:
            result, error = self.on_message(frame.kind, pickle.loads(frame.payload)), None
        except Exception as reason:
            result, error = None, reason
        reply = self._replies.get(frame.seq)
        if reply is None or reply.done():
            return
        if error is not None:
            reply.set_exception(error)
        else:
            reply.set_result(result)

    def _death(self) -> HelperGone:
        host = socket.gethostname()
        if self._closed:
            return HelperGone(f"the process {self._role} on {host} is closed")
        code = self._process.poll()
        how = f"with exit status {code}" if code is not None else "unexpectedly"
        return HelperGone(
            f"the process {self._role} on {host} ended {how}; its output is in the worker's log"
        )


class ZygoteClient(HelperProcess):
    """Zygote process and the requests to it; its trial processes end with it."""

    def __init__(self) -> None:
        super().__init__("that starts trials", _MAIN)
        self._exits: dict[int, asyncio.Future[ExitCode]] = {}

    async def start(self, payload: object, descriptor: int) -> tuple[int, asyncio.Future[ExitCode]]:
        """Start a trial process; return its id and a future of its exit code.

        Raises:
            Refused: If the trial process could not be started.
            HelperGone: If the zygote died.
        """
        started: tuple[int, asyncio.Future[ExitCode]] = await self.request(
            HelperMessage.START, payload, (descriptor,)
        )
        return started

    @override
    def on_message(self, message: int, payload: Any) -> Any:
        if message == HelperMessage.EXITED:
            pid, code = payload
            # The system may reuse the id, so an ended process is removed at once.
            _resolve(self._exits.pop(pid), code)
        elif message == HelperMessage.STARTED:
            # Registered before the requester wakes up: the exit may follow in the same read.
            exited = asyncio.get_running_loop().create_future()
            self._exits[payload] = exited
            return payload, exited
        return super().on_message(message, payload)

    @override
    def on_gone(self) -> None:
        # The trials end with the zygote, so their futures are resolved.
        for pid in self._exits:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for exited in self._exits.values():
            _resolve(exited, None)  # only the zygote knew their exit codes
        self._exits.clear()


def _resolve(exited: asyncio.Future[ExitCode], code: ExitCode) -> None:
    if not exited.done():
        exited.set_result(code)


def prestart_zygote() -> None:
    """Start a zygote for the next experiment of this process, unless there is one already."""
    with _lock:
        if not _ready:
            _ready.append(ZygoteClient())


def claim_zygote() -> ZygoteClient:
    """Return the zygote that was started in advance, or a new one."""
    with _lock:
        return _ready.pop() if _ready else ZygoteClient()


def discard_zygote() -> None:
    """End a zygote that was started in advance and not used."""
    with _lock:
        while _ready:
            _ready.pop().close()


def _clear_in_fork() -> None:
    """Drop the zygotes and the lock after a fork, because they belong to the parent."""
    global _lock
    _lock = threading.Lock()
    _ready.clear()


os.register_at_fork(after_in_child=_clear_in_fork)
