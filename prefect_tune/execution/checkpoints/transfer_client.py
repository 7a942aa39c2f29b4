"""`TransferClient`: the agent's client of its transfer process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.execution.launch.helper_process import HelperGone, HelperProcess
from prefect_tune.execution.protocol.helper_messages import HelperMessage, Transfer
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits

_logger = logging.getLogger(__name__)
#: Checkpoints transferred in parallel per direction; each is sent in several parallel parts.
_MAX_PARALLEL = 4
#: Seconds for which storage may be unavailable even if a checkpoint has waited very long already.
_LEAST_OUTAGE_S = 10.0
#: How often a transfer is tried if the transfer process dies.
_MAX_TRIES = 3
#: Seconds beyond its time limit after which a transfer counts as hanging.
_SLACK_S = 10.0
_MAIN = (
    "from prefect_tune.execution.checkpoints.transfer_process import main; main(int(sys.argv[1]))"
)


#: Called with why storage does not answer, and with "" once it answers again.
OnOutage = Callable[[str], None]


class _Process(HelperProcess):
    def __init__(self, on_outage: OnOutage) -> None:
        super().__init__("that moves checkpoints", _MAIN)
        self._on_outage = on_outage

    def on_message(self, message: int, payload: Any) -> Any:
        if message == HelperMessage.OUTAGE:
            self._on_outage(payload)
        return super().on_message(message, payload)


class TransferClient:
    """Uploads and downloads the checkpoints of one experiment on this node.

    The transfer process is started when first needed, and restarted if it dies. For use in the
    event loop of the node.

    Args:
        timeout_s: Seconds after which a transfer is given up.
        on_outage: Called when storage stops to answer and when it answers again.
    """

    def __init__(self, timeout_s: float, on_outage: OnOutage = lambda problem: None) -> None:
        self._timeout_s = timeout_s
        self._on_outage = on_outage
        self._process: _Process | None = None
        #: The process that has reported an outage of storage.
        self._outage_reporter: _Process | None = None
        # Separate limits, so that a starting trial does not wait for uploads of others.
        self._room = {
            kind: asyncio.Semaphore(_MAX_PARALLEL)
            for kind in (HelperMessage.PUT, HelperMessage.GET)
        }
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the transfer process; None if none has been started."""
        return None if self._process is None else self._process.pid

    async def put(
        self, directory: Path, location: Location, path: str, waited_s: float = 0.0
    ) -> None:
        """Upload a checkpoint, and retry during an outage as long as the time limit allows.

        Args:
            directory: The checkpoint's directory on this node.
            location: A directory in storage.
            path: Path for the checkpoint below `location`.
            waited_s: Seconds that the upload has waited already, which shortens the outage that it
                waits for: otherwise queued uploads would wait for an outage one after the other.

        Raises:
            StorageUnavailable: If the upload took too long.
            StorageError: If it cannot be done.
        """
        since = asyncio.get_running_loop().time() - waited_s
        async with self._room[HelperMessage.PUT]:
            waited = asyncio.get_running_loop().time() - since
            outage = max(self._timeout_s - waited, _LEAST_OUTAGE_S)
            transfer = Transfer(location, path, str(directory), self._timeout_s, outage)
            await self._transfer(HelperMessage.PUT, transfer)

    async def get(self, location: Location, path: str, directory: Path) -> None:
        """Download a checkpoint; its directory appears when it is complete.

        Args:
            location: A directory in storage.
            path: The checkpoint's path below that.
            directory: The directory on this node to create.

        Raises:
            CheckpointUnreadable: If it is not there, incomplete or damaged.
            StorageUnavailable: If storage does not answer, or the download took too long.
            StorageError: If it cannot be done.
        """
        # The trial that waits for this holds resources that another trial could use meanwhile.
        outage = min(self._timeout_s, Limits().outage_s)
        transfer = Transfer(location, path, str(directory), self._timeout_s, outage)
        async with self._room[HelperMessage.GET]:
            await self._transfer(HelperMessage.GET, transfer)

    def close(self) -> None:
        """End the transfer process; running transfers fail."""
        self._closed = True
        if self._process is not None:
            self._process.close()

    async def _transfer(self, message: HelperMessage, transfer: Transfer) -> None:
        for _ in range(_MAX_TRIES):
            process = self._live_process()
            try:
                async with asyncio.timeout(transfer.timeout_s + _SLACK_S):
                    await process.request(message, transfer)
                if self._outage_reporter not in (None, process):
                    self._tell_outage("")  # the process that reported the outage is gone
                return
            except HelperGone as error:
                if self._closed:
                    break
                _logger.warning("%s; it is started again.", error)
            except TimeoutError:
                process.close()  # its other transfers are started again
                process.kill()
                raise StorageUnavailable(
                    f"cannot move {transfer.path}: nothing has happened for "
                    f"{transfer.timeout_s:g} s"
                ) from None
        if self._closed:
            raise StorageUnavailable("the experiment on this node was closed before it was moved")
        raise StorageError(
            f"cannot move {transfer.path}: the transfer process died {_MAX_TRIES} times; its "
            "output is in the worker's log"
        )

    def _tell_outage(self, problem: str) -> None:
        self._outage_reporter = self._process if problem else None
        self._on_outage(problem)

    def _live_process(self) -> _Process:
        if self._closed:
            raise StorageUnavailable("the experiment on this node is closed")
        if self._process is None or not self._process.alive:
            try:
                self._process = _Process(self._tell_outage)
            except OSError as error:
                raise StorageError(
                    f"cannot start the process that transfers checkpoints: {error}"
                ) from error
        return self._process
