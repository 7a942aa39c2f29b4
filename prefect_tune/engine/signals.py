"""Handling of SIGINT, SIGTERM and SIGUSR1: the first ends a sweep in order, the second by force.

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

#: Makes a context manager that is open while the given signal handler is installed.
HandlerOverride = Callable[[Callable[..., Any]], AbstractContextManager[None]]


class Interruption:
    """The signal or other cause that has ended a sweep early, if any.

    Attributes:
        signal: The signal that ended the sweep.
        cause: Another cause that ended it, for people.
        out_of_time: True if the cause is a time limit.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.cause: str | None = None
        self.out_of_time = False

    @property
    def reason(self) -> str | None:
        """A short description of what has ended the sweep, None if nothing has."""
        return self.cause if self.signal is None else f"{self.signal.name} received"

    def reraise(self) -> None:
        """Deliver a SIGTERM that ended the sweep again, to the handler from before the sweep.

        Under Prefect that is the flow engine, which records the state of the flow run; in a plain
        script the process ends with the signal's exit status.
        """
        in_main = threading.current_thread() is threading.main_thread()
        if self.signal is signal.SIGTERM and in_main:
            signal.raise_signal(signal.SIGTERM)


class SweepGroup:
    """A set of sweeps in other threads, which can be ended together."""

    def __init__(self) -> None:
        self._sweeps: list[Callable[[str, signal.Signals | None], None]] = []
        self._cause: tuple[str, signal.Signals | None] | None = None

    @contextmanager
    def register(self, interrupt: Callable[[str], None], state: Interruption) -> Iterator[None]:
        """Keep a sweep in the group; end it at once if the group has been ended already."""

        def end(cause: str, received: signal.Signals | None) -> None:
            if received is None:
                state.cause = cause
            else:
                state.signal = received
            interrupt(cause)

        self._sweeps.append(end)
        if self._cause is not None:
            end(*self._cause)
        try:
            yield
        finally:
            self._sweeps.remove(end)

    def interrupt(self, cause: str, received: signal.Signals | None = None) -> None:
        """End all sweeps of the group in order.

        Args:
            cause: The reason, for people.
            received: The signal that is the reason, if it is one.
        """
        self._cause = (cause, received)
        for end in tuple(self._sweeps):
            end(cause, received)

    def reset(self) -> None:
        """Let sweeps that register from now on run, even if the group has been ended before."""
        self._cause = None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the group of all sweeps whose threads get a copy of the context inside."""
        token = _group.set(self)
        try:
            yield
        finally:
            _group.reset(token)


#: The group of the process, unless `SweepGroup.current` sets another in the context.
_group: ContextVar[SweepGroup] = ContextVar("prefect_tune_sweeps", default=SweepGroup())  # noqa: B039


@contextmanager
def relay_signals() -> Iterator[Interruption]:
    """Pass SIGINT, SIGTERM and SIGUSR1 on to the sweeps that run in other threads."""
    group, in_main = _group.get(), threading.current_thread() is threading.main_thread()

    def pass_on(cause: str) -> None:
        if in_main:  # in another thread, the group itself interrupts its sweeps
            group.interrupt(cause, state.signal)

    if in_main:
        group.reset()
    try:
        with handle_signals(pass_on) as state:
            yield state
    finally:
        if in_main:
            group.reset()


@contextmanager
def handle_signals(
    interrupt: Callable[[str], None], sigint: bool = True, override: HandlerOverride | None = None
) -> Iterator[Interruption]:
    """Call `interrupt` on the first SIGINT, SIGTERM or SIGUSR1; restore the handlers at the end.

    SIGUSR1 is handled only if the program does not handle it itself.

    Outside of the main thread Python allows no signal handlers: there only the `SweepGroup` of the
    thread's context calls `interrupt`.

    Args:
        interrupt: Called with the reason in the signal handler, so it must only enqueue.
        sigint: False leaves SIGINT alone.
        override: Makes a context manager that is open while the handler is installed.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        with _group.get().register(interrupt, state):
            yield state
        return
    numbers = [signal.SIGTERM, *([signal.SIGINT] if sigint else [])]
    if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        numbers.append(signal.SIGUSR1)
    previous: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        if state.signal is not None:
            # The second signal: restore the handlers from before, which usually raise.
            for known, old in previous.items():
                signal.signal(known, old)
            signal.raise_signal(number)
            if number == signal.SIGINT:
                # The handler of asyncio only cancels its task, which would wait for this sweep.
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
