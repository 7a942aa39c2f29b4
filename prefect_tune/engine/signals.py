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


@contextmanager
def handle_signals(
    interrupt: Callable[[str], None], sigint: bool = True, stand_in: StandIn | None = None
) -> Iterator[Interruption]:
    """Call `interrupt` on the first SIGINT or SIGTERM; restore the old handlers at the end.

    Outside of the main thread no handler can be installed, and none is.

    Args:
        interrupt: Gets the reason; must only enqueue.
        sigint: False leaves SIGINT alone.
        stand_in: For whoever has to know that his handler has been replaced.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
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
