"""SIGINT and SIGTERM end a sweep in order; a second one ends it hard."""

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
    """Which signal, if any, has ended the sweep."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def reraise(self) -> None:
        """Deliver a SIGTERM once more, to whoever handled it before the sweep.

        Under Prefect that is the flow engine, which records the state of the flow run; in a plain
        script the process ends with the signal's exit status.
        """
        if self.signal is signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)


class _Elsewhere:
    """Sweeps in other threads than the main one, to which the main one may pass signals on."""

    def __init__(self) -> None:
        self._interrupts: list[Callable[[str], None]] = []
        self._reason: str | None = None

    @contextmanager
    def added(self, interrupt: Callable[[str], None]) -> Iterator[None]:
        self._interrupts.append(interrupt)
        if self._reason is not None:  # it has come before
            interrupt(self._reason)
        try:
            yield
        finally:
            self._interrupts.remove(interrupt)

    def interrupt(self, reason: str) -> None:
        self._reason = reason
        for interrupt in tuple(self._interrupts):
            interrupt(reason)

    def begin(self) -> None:
        self._reason = None


_elsewhere = _Elsewhere()


@contextmanager
def relay_signals() -> Iterator[Interruption]:
    """Pass SIGINT and SIGTERM on to the sweeps of all other threads."""
    _elsewhere.begin()
    try:
        with handle_signals(_elsewhere.interrupt) as state:
            yield state
    finally:
        _elsewhere.begin()


@contextmanager
def handle_signals(
    interrupt: Callable[[str], None], sigint: bool = True, stand_in: StandIn | None = None
) -> Iterator[Interruption]:
    """Call `interrupt` on the first SIGINT or SIGTERM; restore the old handlers at the end.

    Outside of the main thread no handler can be installed, and none is; `relay_signals` may have
    one there.

    Args:
        interrupt: Gets the reason; must only enqueue.
        sigint: False leaves SIGINT alone.
        stand_in: For whoever has to know that his handler has been replaced.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        with _elsewhere.added(interrupt):
            yield state
        return
    numbers = [signal.SIGTERM, *([signal.SIGINT] if sigint else [])]
    previous: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        if state.signal is not None:
            # The second one: hand over to the handlers from before, which usually raise.
            for known, old in previous.items():
                signal.signal(known, old)
            signal.raise_signal(number)
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
