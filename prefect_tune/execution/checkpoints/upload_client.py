"""The agent's side of its transfer process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.execution.launch.helper_process import HelperGone, HelperProcess
from prefect_tune.execution.protocol.upload_messages import Message, Transfer
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits

_logger = logging.getLogger(__name__)
#: Checkpoints under way at once in either direction; each is moved in several pieces at once.
_ABREAST = 4
#: Seconds for which storage may be away when a checkpoint has waited for its turn for very long.
_LEAST_OUTAGE_S = 10.0
#: How often a transfer is begun again because the process died under it.
_LIVES = 3
#: Seconds beyond its time limit after which a transfer is taken to hang.
_SLACK_S = 10.0
_MAIN = "from prefect_tune.execution.checkpoints.upload_process import main; main(int(sys.argv[1]))"


#: Takes why storage does not answer; "" once it does again.
OnOutage = Callable[[str], None]


class _Process(HelperProcess):
    def __init__(self, on_outage: OnOutage) -> None:
        super().__init__("that moves checkpoints", _MAIN)
        self._on_outage = on_outage

    def understand(self, message: int, payload: Any) -> Any:
        if message == Message.FAILED:
            raise payload
        if message == Message.AWAY:
            self._on_outage(payload)
        elif message == Message.BACK:
            self._on_outage("")
        return payload


class TransferService:
    """Moves the checkpoints of one experiment between this node and storage.

    The process starts when it is first needed and again when it has died. Belongs to the event loop
    of the node.

    Args:
        timeout_s: Seconds after which a transfer is given up.
        on_outage: Told when storage stops to answer and when it answers again.
    """

    def __init__(self, timeout_s: float, on_outage: OnOutage = lambda problem: None) -> None:
        self._timeout_s = timeout_s
        self._on_outage = on_outage
        self._process: _Process | None = None
        #: It has said that storage does not answer.
        self._away: _Process | None = None
        # A trial that is to start does not wait behind what others have written.
        self._room = {kind: asyncio.Semaphore(_ABREAST) for kind in (Message.PUT, Message.GET)}
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the transfer process; None if there is none (yet)."""
        return None if self._process is None else self._process.pid

    async def put(
        self, directory: Path, location: Location, path: str, waited_s: float = 0.0
    ) -> None:
        """Take a checkpoint to storage; waits out an outage as long as the time limit allows.

        Args:
            directory: Its directory here.
            location: A directory in storage.
            path: Where it goes below that.
            waited_s: Seconds that it has waited already, which shortens the outage it waits out: or
                else what queues up while storage is away would wait one after the other.

        Raises:
            StorageUnavailable: If it took too long.
            StorageError: If it cannot be done.
        """
        since = asyncio.get_running_loop().time() - waited_s
        async with self._room[Message.PUT]:
            waited = asyncio.get_running_loop().time() - since
            outage = max(self._timeout_s - waited, _LEAST_OUTAGE_S)
            transfer = Transfer(location, path, str(directory), self._timeout_s, outage)
            await self._do(Message.PUT, transfer)

    async def get(self, location: Location, path: str, directory: Path) -> None:
        """Bring a checkpoint from storage; its directory appears when it is complete.

        Args:
            location: A directory in storage.
            path: The checkpoint's path below that.
            directory: Where it goes here.

        Raises:
            CheckpointUnreadable: If it is not there, incomplete or damaged.
            StorageUnavailable: If storage is away or it took too long.
            StorageError: If it cannot be done.
        """
        # A slot is reserved for whoever waits for this: better given to somebody else.
        outage = min(self._timeout_s, Limits().outage_s)
        transfer = Transfer(location, path, str(directory), self._timeout_s, outage)
        async with self._room[Message.GET]:
            await self._do(Message.GET, transfer)

    def close(self) -> None:
        """End the process; what is under way fails."""
        self._closed = True
        if self._process is not None:
            self._process.close()

    async def _do(self, message: Message, transfer: Transfer) -> None:
        for _ in range(_LIVES):
            process = self._living()
            try:
                async with asyncio.timeout(transfer.timeout_s + _SLACK_S):
                    await process.request(message, transfer)
                if self._away not in (None, process):
                    self._tell_outage("")  # what said so is gone, and says no more
                return
            except HelperGone as error:
                if self._closed:
                    break
                _logger.warning("%s; it is started again.", error)
            except TimeoutError:
                process.close()  # what else it moves is begun again
                process.kill()
                raise StorageUnavailable(
                    f"cannot move {transfer.path}: nothing has happened for "
                    f"{transfer.timeout_s:g} s"
                ) from None
        if self._closed:
            raise StorageUnavailable("the experiment on this node was closed before it was moved")
        raise StorageError(
            f"cannot move {transfer.path}: the process that does it died {_LIVES} times; its "
            "output is in the worker's log"
        )

    def _tell_outage(self, problem: str) -> None:
        self._away = self._process if problem else None
        self._on_outage(problem)

    def _living(self) -> _Process:
        if self._closed:
            raise StorageUnavailable("the experiment on this node is closed")
        if self._process is None or not self._process.alive:
            try:
                self._process = _Process(self._tell_outage)
            except OSError as error:
                raise StorageError(
                    f"the process that moves checkpoints cannot be started: {error}"
                ) from error
        return self._process
