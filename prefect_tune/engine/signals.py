"""SIGINT, SIGTERM and SIGUSR1 end a sweep in order; a second one ends it hard.

SIGUSR1 is what batch systems such as Slurm send some time before they end a job.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

#: Told which handler is installed, for as long as it is.
StandIn = Callable[[Callable[..., Any]], AbstractContextManager[None]]


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


class _Elsewhere:
    """Sweeps in other threads than the main one, to which the main one may pass signals on."""

    def __init__(self) -> None:
        self._sweeps: list[tuple[Callable[[str], None], Interruption]] = []
        self._signal: signal.Signals | None = None

    @contextmanager
    def added(self, interrupt: Callable[[str], None], state: Interruption) -> Iterator[None]:
        sweep = (interrupt, state)
        self._sweeps.append(sweep)
        if self._signal is not None:  # it has come before
            self._tell(sweep, self._signal)
        try:
            yield
        finally:
            self._sweeps.remove(sweep)

    def interrupt(self, received: signal.Signals) -> None:
        self._signal = received
        for sweep in tuple(self._sweeps):
            self._tell(sweep, received)

    def begin(self) -> None:
        self._signal = None

    @staticmethod
    def _tell(sweep: tuple[Callable[[str], None], Interruption], received: signal.Signals) -> None:
        interrupt, state = sweep
        state.signal = received
        interrupt(f"{received.name} received")


_elsewhere = _Elsewhere()


def _pass_on(reason: str) -> None:
    _elsewhere.interrupt(signal.Signals[reason.split()[0]])


@contextmanager
def relay_signals() -> Iterator[Interruption]:
    """Pass SIGINT, SIGTERM and SIGUSR1 on to the sweeps of all other threads."""
    _elsewhere.begin()
    try:
        with handle_signals(_pass_on) as state:
            yield state
    finally:
        _elsewhere.begin()


@contextmanager
def handle_signals(
    interrupt: Callable[[str], None], sigint: bool = True, stand_in: StandIn | None = None
) -> Iterator[Interruption]:
    """Call `interrupt` on the first SIGINT, SIGTERM or SIGUSR1; restore the handlers at the end.

    A SIGUSR1 that somebody else handles is left to him.

    Outside of the main thread no handler can be installed, and none is; `relay_signals` may have
    one there.

    Args:
        interrupt: Gets the reason; must only enqueue.
        sigint: False leaves SIGINT alone.
        stand_in: For whoever has to know that his handler has been replaced.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        with _elsewhere.added(interrupt, state):
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
        with nullcontext() if stand_in is None else stand_in(handler):
            yield state
    finally:
        for known, old in previous.items():
            signal.signal(known, old)
