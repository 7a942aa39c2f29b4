"""The other workers of distributed training, as the trial's own process sees them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hmac
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.error import TrialWorkerFailed, TuneError
from prefect_tune.trainable.distributed.member import Invitation, Line, Member
from prefect_tune.trainable.runtime.attempt import TrialEnding, TrialTerminated
from prefect_tune.trainable.trial_workers import WorkerCall

_logger = logging.getLogger("prefect_tune")
#: Seconds between two lines that say for whom the trial waits.
_SAY_EVERY_S = 10.0
#: Seconds within which a worker that connects has to say who it is.
_HELLO_S = 10.0
#: Seconds within which the loss of a worker shows: those that talk to it fail, too, maybe first ...
_KNOWN_S = 1.0
#: ... and within which its node says why that has ended.
_REASON_S = 10.0
#: Seconds that processes have for their end.
_END_S = 5.0


@dataclass(eq=False)
class WorkerGroup:
    """Starts the workers of one attempt, notices how they end, and ends them.

    Args:
        members: All of them; the first is this process.
        start: Starts another one.
        checkpoint: Directory with the checkpoint that the attempt goes on from, if any.
        timeout_s: Seconds within which they have to be there, and to return at the end.
    """

    members: Sequence[Member]
    start: Callable[[Invitation], WorkerCall]
    checkpoint: str | None
    timeout_s: float
    _token: str = field(init=False, default_factory=lambda: secrets.token_hex(16))
    _calls: dict[int, WorkerCall] = field(init=False, default_factory=dict)
    # What the threads below share with the main one, which waits for changes of it.
    _changed: threading.Condition = field(init=False, default_factory=threading.Condition)
    _lines: dict[int, Line] = field(init=False, default_factory=dict)
    _values: dict[int, Any] = field(init=False, default_factory=dict)
    _gone: set[int] = field(init=False, default_factory=set)
    _done: set[int] = field(init=False, default_factory=set)
    _errors: dict[int, BaseException] = field(init=False, default_factory=dict)
    _failure: TuneError | None = None
    _trains: bool = False
    _closed: bool = False

    def __enter__(self) -> WorkerGroup:
        """Start the others and wait until they have connected.

        Raises:
            TuneError: If one fails or does not connect in time.
        """
        host = self.members[0].host
        self._listener = socket.create_server((host, 0), backlog=len(self.members))
        address = (host, self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="workers", daemon=True).start()
        try:
            for member in self.members[1:]:
                call = self.start(Invitation(member, address, self._token, self.timeout_s))
                self._calls[member.rank] = call
                call.add_done_callback(functools.partial(self._note_end, member.rank))
            self._wait_for(self._lines, "connect")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the others."""
        with self._changed:
            self._closed = True
        # Not only close: a thread waits in it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines.values():
            line.close()
        living = [call for call in self._calls.values() if not call.done()]
        for call in living:
            call.end()
        # What they hold, such as memory of GPUs, is free then; else their nodes see to their end.
        concurrent.futures.wait(living, _END_S)

    def exchange(self, value: Any) -> list[Any]:
        """Take part in an exchange as the first worker.

        Raises:
            TuneError: If a worker fails, or does not take part in time.
        """
        self._wait_for(self._values, "be ready")
        with self._changed:
            values = [value, *(self._values.pop(m.rank) for m in self.members[1:])]
        for line in self._lines.values():
            # One that is gone is noticed by who reads from it.
            with contextlib.suppress(OSError):
                line.send({"values": values})
        return values

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Have the failure of another worker end the training function of the first one.

        Raises:
            TuneError: If another worker has failed.
        """
        try:
            with self._changed:
                self._check()
                self._trains = True
            try:
                yield
            finally:
                with self._changed:
                    self._trains = False
                    self._changed.notify_all()
        except TrialTerminated:  # maybe by `_fail`
            self._check()
            raise
        except TrialEnding:
            raise
        except BaseException:
            # Where another worker is gone, what is raised here says only that.
            with self._changed:
                if self._changed.wait_for(lambda: self._errors or self._lost, _KNOWN_S):
                    self._changed.wait_for(lambda: self._failure, _REASON_S)
            self._check()
            raise

    def wait(self) -> None:
        """Wait until the others have returned, too.

        Raises:
            TuneError: If one fails or does not return in time.
        """
        self._wait_for(self._done, "return, as worker 0 has")

    def _wait_for(self, there: dict[int, Any] | set[int], what: str) -> None:
        """Wait until all the others are in `there`."""
        deadline = time.monotonic() + self.timeout_s
        others = range(1, len(self.members))
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._failure or all(rank in there for rank in others),
                    max(0.0, min(_SAY_EVERY_S, deadline - time.monotonic())),
                )
                self._check()
                missing = ", ".join(str(rank) for rank in others if rank not in there)
            if not missing:
                return
            waiting = f"worker {missing} of {len(self.members)} to {what}"
            if time.monotonic() >= deadline:
                raise TuneError(f"waited {self.timeout_s:g} s in vain for {waiting}.")
            _logger.info("Waiting for %s.", waiting)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _explain(self, rank: int) -> str:
        member, error = self.members[rank], self._errors[rank]
        what = "" if isinstance(error, TrialWorkerFailed) else f"{type(error).__name__}: "
        return f"{member} ({member.host}) has failed: {what}{error}"

    @property
    def _lost(self) -> set[int]:
        """Return the workers whose connections have ended although they have not returned."""
        return self._gone - self._done

    # -- in threads of their own -------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._follow, args=(sock,), name="worker", daemon=True).start()

    def _follow(self, sock: socket.socket) -> None:
        """Take what a worker says, up to its end."""
        sock.settimeout(_HELLO_S)
        line = Line(sock)
        hello = line.receive() or {}
        rank: Any = hello.get("rank")
        known = rank in range(1, len(self.members)) and rank not in self._lines
        if not known or not hmac.compare_digest(str(hello.get("token")), self._token):
            line.close()  # somebody else
            return
        sock.settimeout(None)
        if hello["fetch"] and self.checkpoint is not None:
            with contextlib.suppress(OSError):  # it is gone
                line.send_directory(self.checkpoint)
        with self._changed:
            self._lines[rank] = line
            self._changed.notify_all()
        while (message := line.receive()) is not None:
            with self._changed:
                self._values[rank] = message["value"]
                self._changed.notify_all()
        with self._changed:
            self._gone.add(rank)
            self._changed.notify_all()

    def _note_end(self, rank: int, call: WorkerCall) -> None:
        error = call.exception()
        if error is not None:
            # It may wait for the main thread, and this one serves others, too.
            threading.Thread(target=self._fail, args=(rank, error), daemon=True).start()
            return
        with self._changed:
            self._done.add(rank)
            self._changed.notify_all()

    def _fail(self, rank: int, error: BaseException) -> None:
        """Note that another worker has failed; the first such error ends the attempt."""
        with self._changed:
            first = not self._errors
            self._errors[rank] = error
            self._changed.notify_all()
            if not first:
                return
            # Which of them was the cause cannot be told from here: the error names them all.
            others = len(self.members) - 1
            self._changed.wait_for(lambda: self._closed or len(self._errors) == others, _KNOWN_S)
            if self._closed:
                return
            self._failure = TuneError("; ".join(map(self._explain, self._errors)))
            self._failure.__cause__ = error
            self._changed.notify_all()
            if not self._trains:
                return
            # The training function may be busy or wait for the worker; at a signal it ends in order
            # if it is not inside of native code. With the lock, since it may end by itself.
            ident = threading.main_thread().ident
            if ident is not None:
                signal.pthread_kill(ident, signal.SIGTERM)
            if self._changed.wait_for(lambda: not self._trains, _END_S):
                return
        print(
            f"prefect_tune.TuneError: {self._failure}. Worker 0 hangs, and is ended by force.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
