"""SIGINT, SIGTERM and SIGUSR1 end a sweep in order; a second one ends it hard.

SIGUSR1 is what batch systems such as Slurm send some time before they end a job.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import FrameType
from typing import Any

#: Told which handler is installed, for as long as it is.
HandlerOverride = Callable[[Callable[..., Any]], AbstractContextManager[None]]


class Interruption:
    """What, if anything, has ended the sweep before its end.

    Attributes:
        signal: The signal that did.
        cause: In words what else did.
        out_of_time: True if that was a limit of time.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.cause: str | None = None
        self.out_of_time = False

    @property
    def reason(self) -> str | None:
        """What has ended it, in a word or two."""
        return self.cause if self.signal is None else f"{self.signal.name} received"

    def reraise(self) -> None:
        """Deliver a SIGTERM once more, to whoever handled it before the sweep.

        Under Prefect that is the flow engine, which records the state of the flow run; in a plain
        script the process ends with the signal's exit status.
        """
        in_main = threading.current_thread() is threading.main_thread()
        if self.signal is signal.SIGTERM and in_main:
            signal.raise_signal(signal.SIGTERM)


class SweepGroup:
    """Sweeps in other threads, which can be ended together."""

    def __init__(self) -> None:
        self._sweeps: list[tuple[Callable[[str], None], Interruption]] = []
        self._cause: tuple[str, signal.Signals | None] | None = None

    @contextmanager
    def added(self, interrupt: Callable[[str], None], state: Interruption) -> Iterator[None]:
        """Have a sweep among them, which is ended at once if they have been already."""
        sweep = (interrupt, state)
        self._sweeps.append(sweep)
        if self._cause is not None:
            self._tell(sweep, *self._cause)
        try:
            yield
        finally:
            self._sweeps.remove(sweep)

    def interrupt(self, cause: str, received: signal.Signals | None = None) -> None:
        """End them in order.

        Args:
            cause: Why, in words.
            received: The signal that is the cause, if it is one.
        """
        self._cause = (cause, received)
        for sweep in tuple(self._sweeps):
            self._tell(sweep, cause, received)

    def begin(self) -> None:
        """Forget that they have been ended: sweeps that are added from now on run."""
        self._cause = None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Take in the sweeps of the threads that get a copy of the context inside."""
        token = _group.set(self)
        try:
            yield
        finally:
            _group.reset(token)

    @staticmethod
    def _tell(
        sweep: tuple[Callable[[str], None], Interruption],
        cause: str,
        received: signal.Signals | None,
    ) -> None:
        interrupt, state = sweep
        if received is None:
            state.cause = cause
        else:
            state.signal = received
        interrupt(cause)


#: Those of the whole process, unless somebody has others set.
_group: ContextVar[SweepGroup] = ContextVar("prefect_tune_sweeps", default=SweepGroup())  # noqa: B039


@contextmanager
def relay_signals() -> Iterator[Interruption]:
    """Pass SIGINT, SIGTERM and SIGUSR1 on to the sweeps of all other threads."""
    group, in_main = _group.get(), threading.current_thread() is threading.main_thread()

    def pass_on(cause: str) -> None:
        if in_main:  # else whoever ends the group tells its sweeps
            group.interrupt(cause, state.signal)

    if in_main:
        group.begin()
    try:
        with handle_signals(pass_on) as state:
            yield state
    finally:
        if in_main:
            group.begin()


@contextmanager
def handle_signals(
    interrupt: Callable[[str], None], sigint: bool = True, override: HandlerOverride | None = None
) -> Iterator[Interruption]:
    """Call `interrupt` on the first SIGINT, SIGTERM or SIGUSR1; restore the handlers at the end.

    A SIGUSR1 that somebody else handles is left to him.

    Outside of the main thread no handler can be installed, and none is; the `SweepGroup` that the
    thread's context has may end it.

    Args:
        interrupt: Gets the reason; must only enqueue.
        sigint: False leaves SIGINT alone.
        override: For whoever has to know that his handler has been replaced.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        with _group.get().added(interrupt, state):
            yield state
        return
    numbers = [signal.SIGTERM, *([signal.SIGINT] if sigint else [])]
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        numbers.append(signal.SIGUSR1)
    previous: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        if state.signal is not None:
            # The second one: hand over to the handlers from before, which usually raise.
            for known, old in previous.items():
                signal.signal(known, old)
            signal.raise_signal(number)
            if number == signal.SIGINT:
                # That of asyncio waits for its loop, which waits for us.
                raise KeyboardInterrupt
            return
        state.signal = signal.Signals(number)
        interrupt(f"{state.signal.name} received")

    for known in numbers:
        previous[known] = signal.signal(known, handler)
    try:
        with nullcontext() if override is None else override(handler):
            yield state
    finally:
        for known, old in previous.items():
            signal.signal(known, old)
