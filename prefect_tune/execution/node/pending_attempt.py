"""What an attempt is told before its process exists."""

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
    """The attempt was told to end before it had started."""


def ends_attempt(message: EndOrDecision) -> bool:
    """Whether an attempt that gets this message has to end."""
    return not isinstance(message, Decide) or message.action is Action.STOP


class PendingAttempt:
    """Holds messages for an attempt that is being prepared; an order to end cancels the attempt.

    Attributes:
        messages: What the process is to be told, in order.
    """

    def __init__(self) -> None:
        self.messages: list[EndOrDecision] = []
        self._cancelled = asyncio.Event()

    def tell(self, message: EndOrDecision) -> None:
        """Hold a message for the process."""
        self.messages.append(message)
        if ends_attempt(message):
            self.cancel()

    def cancel(self) -> None:
        """End the preparation."""
        self._cancelled.set()

    async def unless_cancelled(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, which is cancelled with the attempt.

        Raises:
            AttemptCancelled: If the attempt is cancelled first.
        """
        if self._cancelled.is_set():
            work.close()
            raise AttemptCancelled
        task = asyncio.ensure_future(work)
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({task, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise AttemptCancelled
            return task.result()
        finally:
            cancelled.cancel()
            task.cancel()
