"""`WorkerGroup`: the workers of distributed training, controlled by the first of them."""

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
from prefect_tune.trainable.distributed.rendezvous import Invitation, WorkerConnection, WorkerInfo
from prefect_tune.trainable.runtime.attempt import TrialEnding, TrialTerminated
from prefect_tune.trainable.trial_workers import WorkerCall

_logger = logging.getLogger("prefect_tune")
#: Seconds between two log lines that name the workers which the trial waits for.
_SAY_EVERY_S = 10.0
#: Seconds within which a worker that connects has to say who it is.
_HELLO_S = 10.0
#: Seconds within which a lost worker is noticed, whose peers may fail before it does ...
_KNOWN_S = 1.0
#: ... and within which its node reports why the worker has ended.
_REASON_S = 10.0
#: Seconds that killed workers have to end.
_END_S = 5.0


@dataclass(eq=False)
class WorkerGroup:
    """Starts the workers of one attempt, notices how they end, and ends them.

    Args:
        workers: All workers; the first is this process.
        start: Starts one of the other workers.
        checkpoint: Directory with the checkpoint that the attempt goes on from, if any.
        timeout_s: Seconds in which all workers have to connect, and in the end to return.
    """

    workers: Sequence[WorkerInfo]
    start: Callable[[Invitation], WorkerCall]
    checkpoint: str | None
    timeout_s: float
    _token: str = field(init=False, default_factory=lambda: secrets.token_hex(16))
    _calls: dict[int, WorkerCall] = field(init=False, default_factory=dict)
    # State that the threads share with the main one, which waits for its changes.
    _changed: threading.Condition = field(init=False, default_factory=threading.Condition)
    _connections: dict[int, WorkerConnection] = field(init=False, default_factory=dict)
    _values: dict[int, Any] = field(init=False, default_factory=dict)
    _gone: set[int] = field(init=False, default_factory=set)
    _done: set[int] = field(init=False, default_factory=set)
    _errors: dict[int, BaseException] = field(init=False, default_factory=dict)
    _failure: TuneError | None = None
    _trains: bool = False
    _closed: bool = False

    def __enter__(self) -> WorkerGroup:
        """Start the other workers and wait until they have connected.

        Raises:
            TuneError: If one fails or does not connect in time.
        """
        host = self.workers[0].host
        self._listener = socket.create_server((host, 0), backlog=len(self.workers))
        address = (host, self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="workers", daemon=True).start()
        try:
            for worker in self.workers[1:]:
                call = self.start(Invitation(worker, address, self._token, self.timeout_s))
                self._calls[worker.rank] = call
                call.add_done_callback(functools.partial(self._note_end, worker.rank))
            self._wait_for(self._connections, "connect")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the other workers."""
        with self._changed:
            self._closed = True
        # `close` alone would not end the `accept` of another thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections.values():
            connection.close()
        living = [call for call in self._calls.values() if not call.done()]
        for call in living:
            call.end()
        # Their GPU memory is free then; the nodes end those that take longer.
        concurrent.futures.wait(living, _END_S)

    def exchange(self, value: Any) -> list[Any]:
        """Exchange a value of the first worker with those of the others; return all by rank.

        Raises:
            TuneError: If a worker fails, or does not take part in time.
        """
        self._wait_for(self._values, "be ready")
        with self._changed:
            values = [value, *(self._values.pop(m.rank) for m in self.workers[1:])]
        for connection in self._connections.values():
            # The thread that reads from it notices a lost worker.
            with contextlib.suppress(OSError):
                connection.send({"values": values})
        return values

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Have the failure of another worker end the training function of the first one.

        Raises:
            TuneError: If another worker has failed.
        """
        try:
            with self._changed:
                self._raise_failure()
                self._trains = True
            try:
                yield
            finally:
                with self._changed:
                    self._trains = False
                    self._changed.notify_all()
        except TrialTerminated:  # maybe by `_fail`
            self._raise_failure()
            raise
        except TrialEnding:
            raise
        except BaseException:
            # This error may only be a consequence of a lost worker, whose own error explains more.
            with self._changed:
                if self._changed.wait_for(lambda: self._errors or self._lost, _KNOWN_S):
                    self._changed.wait_for(lambda: self._failure, _REASON_S)
            self._raise_failure()
            raise

    def wait(self) -> None:
        """Wait until the other workers have returned.

        Raises:
            TuneError: If one fails or does not return in time.
        """
        self._wait_for(self._done, "return, as worker 0 has")

    def _wait_for(self, ready: dict[int, Any] | set[int], what: str) -> None:
        """Wait until the ranks of all other workers are in `ready`; raise if it takes too long."""
        deadline = time.monotonic() + self.timeout_s
        others = range(1, len(self.workers))
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._failure or all(rank in ready for rank in others),
                    max(0.0, min(_SAY_EVERY_S, deadline - time.monotonic())),
                )
                self._raise_failure()
                missing = ", ".join(str(rank) for rank in others if rank not in ready)
            if not missing:
                return
            waiting = f"worker {missing} of {len(self.workers)} to {what}"
            if time.monotonic() >= deadline:
                raise TuneError(f"waited {self.timeout_s:g} s in vain for {waiting}.")
            _logger.info("Waiting for %s.", waiting)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _explain(self, rank: int) -> str:
        worker, error = self.workers[rank], self._errors[rank]
        what = "" if isinstance(error, TrialWorkerFailed) else f"{type(error).__name__}: "
        return f"{worker} ({worker.host}) has failed: {what}{error}"

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
            threading.Thread(
                target=self._receive_from, args=(sock,), name="worker", daemon=True
            ).start()

    def _receive_from(self, sock: socket.socket) -> None:
        """Receive the messages of a worker until its connection ends."""
        sock.settimeout(_HELLO_S)
        connection = WorkerConnection(sock)
        hello = connection.receive() or {}
        rank: Any = hello.get("rank")
        known = rank in range(1, len(self.workers)) and rank not in self._connections
        if not known or not hmac.compare_digest(str(hello.get("token")), self._token):
            connection.close()  # somebody else
            return
        sock.settimeout(None)
        if hello["fetch"] and self.checkpoint is not None:
            with contextlib.suppress(OSError):  # it is gone
                connection.send_directory(self.checkpoint)
        with self._changed:
            self._connections[rank] = connection
            self._changed.notify_all()
        while (message := connection.receive()) is not None:
            with self._changed:
                self._values[rank] = message["value"]
                self._changed.notify_all()
        with self._changed:
            self._gone.add(rank)
            self._changed.notify_all()

    def _note_end(self, rank: int, call: WorkerCall) -> None:
        error = call.exception()
        if error is not None:
            # `_fail` may wait for the main thread, and this thread serves other workers, too.
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
            others = len(self.workers) - 1
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
