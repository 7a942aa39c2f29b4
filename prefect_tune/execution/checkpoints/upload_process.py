"""The transfer process of a node: moves what its agent asks for, several checkpoints at once."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable

from typing_extensions import override

from prefect_tune.error import StorageError, TuneError
from prefect_tune.execution.protocol.frames import Frame, FrameBuffer, encode
from prefect_tune.execution.protocol.upload_messages import Message, Transfer
from prefect_tune.filesystem.factory import open_store
from prefect_tune.filesystem.retry import Limits, OutageWatch
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.background_worker import Outage

_logger = logging.getLogger(__name__)
_RECEIVE_BYTES = 1 << 18
_PARENT_CHECK_MS = 2000


class OutageReport(OutageWatch):
    """Says when storage stops to answer and when it answers again, once each.

    Args:
        say: Sends a message to the agent.
    """

    def __init__(self, say: Callable[[Message, object], None]) -> None:
        self._say = say
        self._outage = Outage()
        self._changing = threading.Lock()

    @override
    def on_failure(self, problem: str) -> None:
        with self._changing:
            if self._outage.begin():
                self._say(Message.AWAY, problem)

    @override
    def on_success(self) -> None:
        if not self._outage.lasts:  # as nearly always
            return
        with self._changing:
            if self._outage.end() is not None:
                self._say(Message.BACK, None)


class TransferServer:
    """Serves the agent at the other end of `control` until it goes away.

    Args:
        control: The connection.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._buffer = FrameBuffer()
        self._replying = threading.Lock()
        self._parent = os.getppid()
        self._outages: defaultdict[str, OutageReport] = defaultdict(
            lambda: OutageReport(lambda message, payload: self._reply(message, 0, payload))
        )

    def run(self) -> None:
        """Serve; what is under way when the agent goes away is left as it is: incomplete."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        # A fork of the agent may hold its end open after its death, hence the second look.
        while os.getppid() == self._parent:
            if not poller.poll(_PARENT_CHECK_MS):
                continue
            try:
                data = self._control.recv(_RECEIVE_BYTES)
            except ConnectionError:
                return  # the agent was killed
            if not data:
                return
            for frame in self._buffer.feed(data):
                # The agent sees to it that there are not too many.
                threading.Thread(target=self._carry_out, args=(frame,), daemon=True).start()

    def _carry_out(self, frame: Frame) -> None:
        try:
            transfer: Transfer = pickle.loads(frame.payload)
            _move(Message(frame.kind), transfer, self._outages[transfer.location.url])
        except TuneError as error:
            self._reply(Message.FAILED, frame.seq, error)
        except Exception as error:
            _logger.exception("A checkpoint could not be moved.")
            unforeseen = StorageError(f"it could not be moved: {type(error).__name__}: {error}")
            self._reply(Message.FAILED, frame.seq, unforeseen)
        else:
            self._reply(Message.DONE, frame.seq, None)

    def _reply(self, message: Message, seq: int, payload: object) -> None:
        # The agent may be gone; then this process ends as well.
        with self._replying, contextlib.suppress(OSError):
            self._control.sendall(encode(message, seq, pickle.dumps(payload)))


def _move(message: Message, transfer: Transfer, watch: OutageWatch) -> None:
    limits = Limits(outage_s=transfer.outage_s, total_s=transfer.timeout_s)
    checkpoints = CheckpointStore(open_store(transfer.location, limits, watch=watch))
    if message is Message.PUT:
        checkpoints.put(transfer.directory, transfer.path)
    else:
        checkpoints.get(transfer.path, transfer.directory)


def main(control_fd: int) -> None:
    """Entry of the transfer process.

    Args:
        control_fd: Its end of the connection to the agent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    TransferServer(socket.socket(fileno=control_fd)).run()
    # Without a word to threads that wait for a storage which does not answer.
    os._exit(0)
