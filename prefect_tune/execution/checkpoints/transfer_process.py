"""The transfer process of a node, which uploads and downloads checkpoints for the agent."""

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
from prefect_tune.execution.protocol.frames import RECEIVE_BYTES, Frame, FrameBuffer, encode
from prefect_tune.execution.protocol.helper_messages import HelperMessage, Transfer
from prefect_tune.filesystem.retry import Limits, OutageWatch
from prefect_tune.filesystem.store import open_store
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.background_worker import Outage

_logger = logging.getLogger(__name__)
_PARENT_CHECK_MS = 2000


class OutageReport(OutageWatch):
    """Reports to the agent when storage stops to answer and when it answers again.

    Args:
        say: Tells the agent why storage does not answer, and "" once it answers again.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._outage = Outage()
        self._changing = threading.Lock()

    @override
    def on_failure(self, problem: str) -> None:
        with self._changing:
            if self._outage.begin():
                self._say(problem)

    @override
    def on_success(self) -> None:
        if not self._outage.lasts:  # as nearly always
            return
        with self._changing:
            if self._outage.end() is not None:
                self._say("")


class TransferServer:
    """Carries out the transfers that the agent requests, until the agent is gone.

    Args:
        control: The connection to the agent.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._buffer = FrameBuffer()
        self._replying = threading.Lock()
        self._parent = os.getppid()
        self._outages: defaultdict[str, OutageReport] = defaultdict(
            lambda: OutageReport(lambda problem: self._reply(HelperMessage.OUTAGE, 0, problem))
        )

    def run(self) -> None:
        """Serve requests until the agent is gone; running transfers are then abandoned."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        # A fork of the agent may keep the connection open after the agent's death, so this also
        # checks the parent process.
        while os.getppid() == self._parent:
            if not poller.poll(_PARENT_CHECK_MS):
                continue
            try:
                data = self._control.recv(RECEIVE_BYTES)
            except ConnectionError:
                return  # the agent was killed
            if not data:
                return
            for frame in self._buffer.feed(data):
                # The agent limits the number of transfers.
                threading.Thread(target=self._carry_out, args=(frame,), daemon=True).start()

    def _carry_out(self, frame: Frame) -> None:
        try:
            transfer: Transfer = pickle.loads(frame.payload)
            _move(HelperMessage(frame.kind), transfer, self._outages[transfer.location.url])
        except TuneError as error:
            self._reply(HelperMessage.FAILED, frame.seq, error)
        except Exception as error:
            _logger.exception("A checkpoint could not be transferred.")
            unforeseen = StorageError(f"the transfer failed: {type(error).__name__}: {error}")
            self._reply(HelperMessage.FAILED, frame.seq, unforeseen)
        else:
            self._reply(HelperMessage.DONE, frame.seq, None)

    def _reply(self, message: HelperMessage, seq: int, payload: object) -> None:
        # If the agent is gone, this process ends as well.
        with self._replying, contextlib.suppress(OSError):
            self._control.sendall(encode(message, seq, pickle.dumps(payload)))


def _move(message: HelperMessage, transfer: Transfer, watch: OutageWatch) -> None:
    limits = Limits(outage_s=transfer.outage_s, total_s=transfer.timeout_s)
    checkpoints = CheckpointStore(open_store(transfer.location, limits, watch=watch))
    if message is HelperMessage.PUT:
        checkpoints.put(transfer.directory, transfer.path)
    else:
        checkpoints.get(transfer.path, transfer.directory)


def main(control_fd: int) -> None:
    """Run the transfer process.

    Args:
        control_fd: File descriptor of the connection to the agent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    TransferServer(socket.socket(fileno=control_fd)).run()
    # Without waiting for threads whose storage does not answer.
    os._exit(0)
