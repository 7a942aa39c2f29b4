"""`RunningAttempt`: forwards an attempt's reports and decisions on its node, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import pickle
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.checkpoints.node_checkpoints import CheckpointHandoff
from prefect_tune.execution.launch.handle import AttemptHandle, exit_error
from prefect_tune.execution.node.bundles import NodeLost
from prefect_tune.execution.node.memory_guard import MemoryShare
from prefect_tune.execution.protocol.frames import (
    RECEIVE_BYTES,
    FrameBuffer,
    FrameKind,
    decode_checkpoint,
    encode,
    encode_decision,
)
from prefect_tune.execution.protocol.helper_messages import ExitCode
from prefect_tune.execution.protocol.reports import (
    CheckpointAnnounced,
    Outbox,
    ProcessEnded,
    ProcessStarted,
)
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.experiment.decision import Action
from prefect_tune.trainable.output import TrialLog
from prefect_tune.trainable.runtime.attempt import Decision
from prefect_tune.trainable.runtime.checkpoint_drafts import remove_drafts

#: Seconds that exit handlers of user code may take after the attempt's last frame.
LINGER_S = 60.0


@dataclass(eq=False)
class RunningAttempt:
    """Running attempt on its node, for use in the node's event loop.

    Args:
        key: The attempt.
        handle: The process or thread.
        directory: The trial's directory.
        outbox: Where its reports go.
        checkpoints: Takes its checkpoints over.
        memory: What memory it may use; its processes are ended when they use more.
        call: Carries out a CALL or END_CALL frame: its kind, number and payload; returns the
            payload of CALL_ENDED, or b"".
        env: The experiment, which says how long the attempt may take to end.
        on_exit: Called when its process is gone, before its end is reported.
    """

    key: AttemptKey
    handle: AttemptHandle
    directory: Path
    outbox: Outbox
    checkpoints: CheckpointHandoff
    memory: MemoryShare
    call: Callable[[int, int, bytes], Awaitable[bytes]]
    env: ExperimentEnv
    on_exit: Callable[[], None]
    _calls: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False, default_factory=asyncio.get_running_loop)
    _buffer: FrameBuffer = field(init=False, default_factory=FrameBuffer)
    _unsent: deque[bytes] = field(init=False, default_factory=deque)
    _end: Outcome | AttemptError | None = None
    _timer: asyncio.TimerHandle | None = None
    _killing: bool = False
    _abandoned: str = ""
    _is_leaving: bool = False
    _is_to_pause: bool = False
    _over: bool = False

    def __post_init__(self) -> None:
        self.memory.end = self._fail
        self._loop.add_reader(self.handle.sock, self._on_readable)

    async def finish(self) -> Outcome:
        """Wait until the process has ended, and report and return how the attempt ended."""
        code = await self.handle.wait()
        if self._timer is not None:
            self._timer.cancel()
        # Read the frames that the process sent before its end, up to the last byte.
        while self._receive():
            pass
        self._over = True
        for call in self._calls:
            call.cancel()
        self._loop.remove_reader(self.handle.sock)
        self._loop.remove_writer(self.handle.sock)
        self.handle.release(usable=not self._unsent and not self._killing)
        outcome, error = self._outcome(code)
        if outcome is not Outcome.FINISHED:
            # Unfinished checkpoints are useless, and fill the disk.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(remove_drafts, self.directory, self.key.attempt)
        pickled = None if error is None else pickle.dumps(error)
        uploading = self.checkpoints.uploading
        self.on_exit()
        self.outbox.put(ProcessEnded(self.key, outcome, pickled, uploading))
        return outcome

    def decide(self, decision: Decision) -> None:
        """Pass a decision on to the trial."""
        self._is_to_pause = decision.action is Action.PAUSE
        self._tell(encode_decision(decision))

    def stop(self) -> None:
        """Start to end the attempt: by a request, then SIGTERM, then SIGKILL."""
        if self._killing:
            return
        self._killing = True
        self.decide(Decision(0, Action.STOP))
        self._escalate_after(self.env.stop_grace_s, self._terminate)

    def leave(self) -> None:
        """Ask the trial to checkpoint and end, because its worker is about to end."""
        self._is_leaving = True
        self._tell(encode(FrameKind.LEAVE, 0, b""))

    def abandon(self, reason: str = "its worker has ended the trials of the experiment") -> None:
        """Kill the attempt now, and report it as lost."""
        if self._end is None:
            self._abandoned = reason
        # A thread cannot be killed, but ends at its next report.
        self.decide(Decision(0, Action.STOP))
        self._kill()

    def _fail(self, error: AttemptError) -> None:
        """Kill the attempt now, as failed."""
        if self._end is None and not self._killing:
            self._end = error
            self._kill()

    def _kill(self) -> None:
        self._killing = True
        self.handle.kill_group(signal.SIGKILL)

    def _terminate(self) -> None:
        self.handle.kill_group(signal.SIGTERM)
        self._escalate_after(self.env.term_grace_s, self._end_by_force)

    def _end_by_force(self) -> None:
        self._kill()
        self.handle.disown_thread()

    def _escalate_after(self, delay: float, step: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, step)

    # -- frames from the trial --------------------------------------------------------------------

    def _on_readable(self) -> None:
        if self.outbox.full:
            self._loop.remove_reader(self.handle.sock)
            self.outbox.when_room(self._resume)
            return
        self._receive()

    def _resume(self) -> None:
        if not self._over:
            self._loop.add_reader(self.handle.sock, self._on_readable)

    def _receive(self) -> bool:
        """Read and handle received frames; return False if there are none."""
        try:
            data = self.handle.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self.handle.sock)
            return False
        # A busy trial's results arrive many at a time, and are put as one.
        lines: list[bytes] = []
        first = 0
        for kind, seq, payload in self._buffer.feed(data):
            if kind == FrameKind.RESULT or kind == FrameKind.RESULT_AWAITING:
                if not lines:
                    first = seq
                lines.append(payload)
                if kind == FrameKind.RESULT_AWAITING:
                    self.outbox.put_results(self.key, first, lines, True)
                    lines = []
            else:
                if lines:  # other frames keep their order relative to results
                    self.outbox.put_results(self.key, first, lines, False)
                    lines = []
                self._handle_frame(kind, seq, payload)
        if lines:
            self.outbox.put_results(self.key, first, lines, False)
        return True

    def _handle_frame(self, kind: int, seq: int, payload: bytes) -> None:
        if kind == FrameKind.HELLO:
            self.outbox.put(ProcessStarted(self.key, **json.loads(payload)))
        elif kind == FrameKind.LOG:
            self.outbox.put(TrialLog(*self.key, payload), urgent=False, nbytes=len(payload))
        elif kind == FrameKind.ANNOUNCED:
            announced = CheckpointAnnounced(self.key, json.loads(payload))
            self.outbox.put(announced, urgent=False)
        elif kind == FrameKind.CHECKPOINT:
            tell_uploaded = functools.partial(self._tell, encode(FrameKind.UPLOADED, 0, b""))
            self.checkpoints.hand_over(*decode_checkpoint(payload), tell_uploaded)
        elif kind in (FrameKind.CALL, FrameKind.END_CALL):
            call = self._loop.create_task(self._carry_out(kind, seq, payload))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        elif kind == FrameKind.ENDED:
            end = json.loads(payload)
            self._end = Outcome(end["outcome"])
            if end["waits"]:
                self.handle.over.set_result(None)
            else:
                self._escalate_after(LINGER_S, self._kill)
        elif kind == FrameKind.FAILED:
            self._end = pickle.loads(payload)
            self._escalate_after(LINGER_S, self._kill)

    async def _carry_out(self, kind: int, number: int, payload: bytes) -> None:
        """Run or end a function in a bundle of the attempt, and send the outcome to the trial."""
        try:
            ended = await self.call(kind, number, payload)
        except NodeLost as error:
            self.abandon(str(error))
            return
        if ended:
            self._tell(encode(FrameKind.CALL_ENDED, number, ended))

    # -- frames to the trial ----------------------------------------------------------------------

    def _tell(self, frame: bytes) -> None:
        if not self._over:
            self._unsent.append(frame)
            self._send()

    def _send(self) -> None:
        sock = self.handle.sock
        while self._unsent:
            data = self._unsent[0]
            try:
                sent = sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(sock, self._send)
                return
            except OSError:  # the attempt has ended and reads no more decisions
                self._unsent.clear()
                break
            if sent < len(data):
                self._unsent[0] = data[sent:]
            else:
                self._unsent.popleft()
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock)

    def _outcome(self, code: ExitCode) -> tuple[Outcome, AttemptError | None]:
        """Return how the attempt ended, and the error if it failed or was lost."""
        if self._abandoned:
            return Outcome.LOST, AttemptError("lost", self._abandoned)
        if self._end is Outcome.PAUSED and self._is_leaving and not self._is_to_pause:
            return Outcome.LOST, AttemptError("lost", "its worker is about to end")
        if isinstance(self._end, Outcome):
            return self._end, None
        error = self._end or self.memory.overflow() or exit_error(code)
        if self._killing and error.kind in ("signal", "exit", "lost"):
            return Outcome.STOPPED, None
        if error.kind == "lost":
            return Outcome.LOST, error
        return Outcome.FAILED, self.handle.add_details(error, self.directory)
