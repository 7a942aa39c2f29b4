"""Frames between a trial process and the agent of its node, over a stream socket.

A frame is a 13-byte header (payload length, kind, sequence number) and a payload. The reports of
`encode_report` are forwarded unchanged and decoded only in the flow process.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import orjson

from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable.runtime.attempt import CallEnded, Decision

HEADER = struct.Struct("<IBQ")
#: Bytes that are read at once.
RECEIVE_BYTES = 1 << 18
_CUT = "the agent of this node has closed the connection"


class FrameKind(IntEnum):
    """Type of a frame, with its payload in brackets."""

    HELLO = 1  #: the process starts user code [JSON: pid, hostname, node_ip]
    RESULT = 2  #: a report [see `encode_report`]
    RESULT_AWAITING = 3  #: a report whose sender waits for a decision [the same]
    ENDED = 4  #: the attempt has ended [JSON: outcome, waits (for another trial)]
    FAILED = 5  #: user code failed [pickled AttemptError]
    CHECKPOINT = 6  #: a checkpoint is complete [JSON: name; newline; the result]
    LOG = 7  #: a line for the trial's log [as `TrialLog.line`]
    ANNOUNCED = 8  #: a checkpoint is being written [JSON: iteration of its result]
    CALL = 9  #: a function is to run in a bundle [its place; newline; see `run_call`]
    END_CALL = 10  #: that function is to end [as of CALL, without the function]
    RETURNED = 11  #: from the process of such a function: its result [pickled]
    DECISION = 16  #: agent to trial [JSON: seq, action, thresholds, every_result]
    NEXT = 18  #: agent to trial: another trial for this process [pickled StartRequest]
    UPLOADED = 17  #: agent to trial: a checkpoint is uploaded, or its upload has failed [empty]
    LEAVE = 20  #: agent to trial: this worker is about to end [empty]
    CALL_ENDED = 19  #: agent to trial: a function has [1 or 0; payload of RETURNED or FAILED]


class Frame(NamedTuple):
    """Decoded frame."""

    kind: int
    seq: int
    payload: bytes


def encode(kind: int, seq: int, payload: bytes) -> bytes:
    """Encode a frame as bytes."""
    return HEADER.pack(len(payload), kind, seq) + payload


def encode_decision(decision: Decision) -> bytes:
    """Encode a decision as a frame."""
    body = {
        "action": decision.action,
        "thresholds": decision.run_until.thresholds,
        "every_result": decision.run_until.every_result,
    }
    return encode(FrameKind.DECISION, decision.seq, orjson.dumps(body))


def decode_decision(frame: Frame) -> Decision:
    """Decode a frame of `encode_decision`."""
    body = orjson.loads(frame.payload)
    thresholds = tuple((str(metric), float(value)) for metric, value in body["thresholds"])
    return Decision(
        frame.seq, Action(body["action"]), RunUntil(thresholds, bool(body["every_result"]))
    )


def encode_checkpoint(name: str, line: bytes) -> bytes:
    """Encode the payload of a CHECKPOINT frame."""
    return orjson.dumps(name) + b"\n" + line


def decode_checkpoint(payload: bytes) -> tuple[str, bytes]:
    """Decode the payload of a CHECKPOINT frame into name and result."""
    name, _, line = payload.partition(b"\n")
    return orjson.loads(name), line


class FrameBuffer:
    """Splits a byte stream into frames."""

    def __init__(self) -> None:
        self._rest = b""
        # The pieces of a large frame are joined once, when all have arrived.
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Add received bytes and return the frames that are complete."""
        if self._missing > len(data):
            self._parts.append(data)
            self._missing -= len(data)
            return []
        if self._rest:
            data = b"".join((self._rest, *self._parts, data))
            self._parts.clear()
        frames: list[Frame] = []
        position = self._missing = 0
        while position + HEADER.size <= len(data):
            length, kind, seq = HEADER.unpack_from(data, position)
            payload = position + HEADER.size
            end = payload + length
            if end > len(data):
                self._missing = end - len(data)
                break
            frames.append(Frame(kind, seq, data[payload:end]))
            position = end
        self._rest = data[position:]
        return frames


class SocketChannel:
    """`Channel` of an attempt over a connected stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = FrameBuffer()
        self._decisions: list[Decision] = []
        self._handed_over = 0
        self._uploaded = 0
        self._wanted: bytes | None = None
        self._sending = threading.Lock()
        # Unlike select(), poll() works with any descriptor number.
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        #: What is told of the end of each function in a bundle; see `start_call`.
        self._calls: dict[int, CallEnded] = {}
        self._number = 0
        self._reader: threading.Thread | None = None
        self._arrived = threading.Condition()
        self._is_cut = False
        self.is_leaving = False

    def send(self, kind: FrameKind, seq: int, payload: bytes) -> None:
        """Send one frame; blocks while the agent is behind (back-pressure)."""
        with self._sending:  # threads of user code may log
            self._sock.sendall(encode(kind, seq, payload))

    def send_result(self, seq: int, report: bytes, awaiting: bool) -> None:
        """Send one report, as `encode_report` encodes it."""
        self.send(FrameKind.RESULT_AWAITING if awaiting else FrameKind.RESULT, seq, report)

    def wait_decision(self) -> Decision:
        """Block until the next decision arrives."""
        self._receive_until(lambda: bool(self._decisions))
        return self._decisions.pop(0)

    def poll_decision(self) -> Decision | None:
        """Return the next decision if one has arrived, else None; never blocks."""
        while self._reader is None and not self._decisions and self._poll.poll(0):
            self._receive()
        return self._decisions.pop(0) if self._decisions else None

    def send_log(self, line: bytes) -> None:
        """Send a line for the trial's log; may be called in any thread."""
        self.send(FrameKind.LOG, 0, line)

    def announce_checkpoint(self, iteration: int) -> None:
        """Announce that a checkpoint of this iteration is being written."""
        self.send(FrameKind.ANNOUNCED, 0, b"%d" % iteration)

    def send_checkpoint(self, seq: int, name: str, line: bytes) -> None:
        """Hand over a complete checkpoint in the trial directory."""
        self._handed_over += 1
        self.send(FrameKind.CHECKPOINT, seq, encode_checkpoint(name, line))

    def wait_uploaded(self, pending: int) -> None:
        """Block until at most `pending` checkpoints are still uploading."""
        self._receive_until(lambda: self._handed_over - self._uploaded <= pending)

    def wait_next(self) -> bytes:
        """Block until the agent sends another trial for this process, and return the request.

        Frames before that request were meant for the trial that has ended, and are dropped.

        Raises:
            ConnectionError: If there is no further trial, or the agent is gone.
        """
        self._wanted = None
        self._receive_until(lambda: self._wanted is not None)
        request, self._wanted = self._wanted or b"", None
        self._decisions.clear()
        self.is_leaving = False
        self._handed_over = self._uploaded = 0
        return request

    def start_call(self, bundle: int, call: bytes, ended: CallEnded) -> int:
        """Start a function in a bundle; see `Channel.start_call`."""
        self._number += 1
        self._calls[self._number] = ended
        if self._reader is None:
            # It may end while the trial does something else.
            self._reader = threading.Thread(target=self._read, name="trial-workers", daemon=True)
            self._reader.start()
        self.send(FrameKind.CALL, self._number, b"%d\n" % bundle + call)
        return self._number

    def end_call(self, bundle: int, number: int) -> None:
        """End a function in a bundle; may be called in any thread."""
        self.send(FrameKind.END_CALL, number, b"%d\n" % bundle)

    def _receive_until(self, condition: Callable[[], bool]) -> None:
        """Receive frames until `condition` returns True.

        Raises:
            ConnectionError: If the agent is gone.
        """
        while not condition():
            if self._reader is None:
                self._receive()
                continue
            with self._arrived:
                self._arrived.wait_for(lambda: condition() or self._is_cut)
            if not condition():
                raise ConnectionError(_CUT)

    def _read(self) -> None:
        """Receive frames for all threads, in a thread that the first call in a bundle starts."""
        try:
            while True:
                self._receive()
        except OSError:
            self._is_cut = True
            for ended in list(self._calls.values()):
                ended(False, None)
        finally:
            with self._arrived:
                self._arrived.notify_all()

    def _receive(self) -> None:
        data = self._sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError(_CUT)
        for frame in self._buffer.feed(data):
            if frame.kind == FrameKind.NEXT:
                self._wanted = frame.payload
            elif frame.kind == FrameKind.UPLOADED:
                self._uploaded += 1
            elif frame.kind == FrameKind.LEAVE:
                self.is_leaving = True
            elif frame.kind == FrameKind.CALL_ENDED:
                self._calls.pop(frame.seq)(frame.payload[:1] == b"1", frame.payload[1:])
            else:
                self._decisions.append(decode_decision(frame))
        with self._arrived:
            self._arrived.notify_all()
