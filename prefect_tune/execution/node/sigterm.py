"""SIGTERM to a worker: first its trials checkpoint, then it ends as it would have."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

#: What is done first; waits until it is done.
Leave = Callable[[], Coroutine[Any, Any, None]]


class LeavingAtSigterm:
    """Handles the first SIGTERM of a process whose event loop runs in its main thread.

    A worker that is a thread of somebody else's process leaves that one's signals alone. Several in
    one process, such as the nannies of one `dask worker`, leave together.

    Args:
        leave: What is done before the signal goes to whoever handled it before.
    """

    def __init__(self, leave: Leave) -> None:
        self._leave = leave
        self._together: list[Leave] = []
        self._previous: Any = signal.SIG_DFL
        self._task: asyncio.Task[None] | None = None
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
        """Handle it no more; to be called in the event loop."""
        if self._leave in self._together:
            self._together.remove(self._leave)
        if not self._together and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, _signum: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)  # a second one does not wait
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._pass_on())

    async def _pass_on(self) -> None:
        leaving = [leave() for leave in self._together]
        await asyncio.gather(*leaving, return_exceptions=True)  # a worker may be gone already
        signal.raise_signal(signal.SIGTERM)
