"""What an attempt is told before its process exists."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from prefect_tune.coordinator.commands import Decide, Kill
from prefect_tune.experiment.decision import Action

_T = TypeVar("_T")


class CalledOff(Exception):
    """The attempt was told to end before it had started."""


class Early:
    """Keeps messages for an attempt that is being prepared; an order to end ends the preparation.

    Attributes:
        messages: What the process is to be told, in order.
    """

    def __init__(self) -> None:
        self.messages: list[Decide | Kill] = []
        self._called_off = asyncio.Event()

    def tell(self, message: Decide | Kill) -> None:
        """Keep a message for the process."""
        self.messages.append(message)
        if isinstance(message, Kill) or message.action is Action.STOP:
            self.call_off()

    def call_off(self) -> None:
        """End the preparation."""
        self._called_off.set()

    async def unless_called_off(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, which is cancelled when the attempt is called off.

        Raises:
            CalledOff: If it is.
        """
        if self._called_off.is_set():
            work.close()
            raise CalledOff
        task = asyncio.ensure_future(work)
        called_off = asyncio.ensure_future(self._called_off.wait())
        try:
            await asyncio.wait({task, called_off}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise CalledOff
            return task.result()
        finally:
            called_off.cancel()
            task.cancel()
