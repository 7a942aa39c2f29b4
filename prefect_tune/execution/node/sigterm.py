"""Delays the end of a worker by SIGTERM until its trials have written checkpoints."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

#: Function that has trials checkpoint and end, and waits for that.
Leave = Callable[[], Coroutine[Any, Any, None]]


class LeavingAtSigterm:
    """Handles the first SIGTERM of a process whose event loop runs in its main thread.

    A worker that is a thread of somebody else's process leaves that one's signals alone. Several in
    one process, such as the nannies of one `dask worker`, leave together.

    Args:
        leave: Called before the signal is passed on to the handler that was installed before.
    """

    def __init__(self, leave: Leave) -> None:
        self._leave = leave
        self._together: list[Leave] = []
        self._previous: Any = signal.SIG_DFL
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        known = signal.getsignal(signal.SIGTERM)
        first = known.__self__ if inspect.ismethod(known) else None
        if isinstance(first, LeavingAtSigterm):
            self._together = first._together
        else:
            self._previous = signal.signal(signal.SIGTERM, self._on_signal) or signal.SIG_DFL
        self._together.append(leave)

    def close(self) -> None:
        """Stop handling SIGTERM; to be called in the event loop."""
        if self._leave in self._together:
            self._together.remove(self._leave)
        if not self._together and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, _signum: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)  # a second one does not wait
        asyncio.run_coroutine_threadsafe(self._leave_and_pass_on(), self._loop)

    async def _leave_and_pass_on(self) -> None:
        leaving = [leave() for leave in self._together]
        await asyncio.gather(*leaving, return_exceptions=True)  # a worker may be gone already
        signal.raise_signal(signal.SIGTERM)
