"""`PendingAttempt`: messages for an attempt whose process has not started."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from prefect_tune.coordinator.commands import Decide, Kill
from prefect_tune.execution.protocol.requests import Abandon
from prefect_tune.experiment.decision import Action

EndOrDecision = Decide | Kill | Abandon
_T = TypeVar("_T")


class AttemptCancelled(Exception):
    """Error for an attempt that was told to end before its process started."""


def ends_attempt(message: EndOrDecision) -> bool:
    """Return True if a message ends the attempt that gets it."""
    return not isinstance(message, Decide) or message.action is Action.STOP


class PendingAttempt:
    """Messages for an attempt that is being prepared; a message that ends it cancels it.

    Attributes:
        messages: Messages for the process, in order.
    """

    def __init__(self) -> None:
        self.messages: list[EndOrDecision] = []
        self._cancelled = asyncio.Event()

    def tell(self, message: EndOrDecision) -> None:
        """Keep a message for the process."""
        self.messages.append(message)
        if ends_attempt(message):
            self.cancel()

    def cancel(self) -> None:
        """Cancel the attempt's preparation."""
        self._cancelled.set()

    async def unless_cancelled(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await and return the result of `work`, which is cancelled with the attempt.

        Raises:
            AttemptCancelled: If the attempt is cancelled.
        """
        return await unless_set(self._cancelled, work)


async def unless_set(cancelled: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T:
    """Await and return the result of `work`, which is cancelled when the event is set.

    Raises:
        AttemptCancelled: If the event is set.
    """
    if cancelled.is_set():
        work.close()
        raise AttemptCancelled
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise AttemptCancelled
        return task.result()
    finally:
        waiting.cancel()
        task.cancel()
