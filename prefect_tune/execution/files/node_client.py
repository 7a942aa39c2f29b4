"""The driver's client for the files of one node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from distributed.protocol import to_serialize
from typing_extensions import override

from prefect_tune.error import CheckpointUnreadable, StorageError, StorageUnavailable
from prefect_tune.execution.files.chunked_copy import Contents, FilePlace
from prefect_tune.execution.files.confined_directory import FileStatus, Piece
from prefect_tune.execution.files.node_service import (
    ANSWER,
    DISCARD_FILES,
    LIST_FILES,
    PUBLISH_FILES,
    READ_FILES,
    WRITE_FILES,
    split,
)
from prefect_tune.execution.protocol.reports import CheckpointRequest, CopyToDriver

_logger = logging.getLogger(__name__)
_ANSWER_S = 60.0
_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0


class NodeClient(FilePlace):
    """`FilePlace` for an experiment's directory on a node, used in the Dask client's event loop.

    Calls go through the scheduler, because a driver often cannot reach the workers directly. A call
    whose answer is lost is repeated until the caller gives up; all calls may be repeated safely.

    Args:
        scheduler: The client's scheduler stub.
        address: Address of the node's worker.
        experiment_id: Id of the experiment.
    """

    def __init__(self, scheduler: Any, address: str, experiment_id: str) -> None:
        self.address = address
        self._scheduler = scheduler
        self._experiment_id = experiment_id

    async def files(self, directory: str) -> dict[str, FileStatus]:
        """List the files in a trial's directory, without checkpoints."""
        reply = await self._call(LIST_FILES, directory=directory)
        return {path: FileStatus(*status) for path, status in reply["files"].items()}

    @override
    async def read(self, pieces: Sequence[Piece]) -> Contents:
        reply = await self._call(READ_FILES, pieces=[tuple(piece) for piece in pieces])
        return split(reply["lengths"], reply["data"])

    @override
    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        joined = data[0] if len(data) == 1 else b"".join(data)
        await self._call(
            WRITE_FILES, pieces=[tuple(piece) for piece in pieces], data=to_serialize(bytes(joined))
        )

    @override
    async def publish(self, arrived: str, path: str) -> None:
        await self._call(PUBLISH_FILES, arrived=arrived, path=path)

    @override
    async def discard(self, arrived: str) -> None:
        # Not retried: the directory is removed at the experiment's end in any case.
        await self._ask(DISCARD_FILES, arrived=arrived)

    async def answer(self, request: CheckpointRequest, error: StorageError | None) -> None:
        """Answer a node's request with its error, or None for success."""
        await self._call(
            ANSWER,
            is_upload=isinstance(request, CopyToDriver),
            path=request.path,
            problem="" if error is None else str(error),
            damaged=isinstance(error, CheckpointUnreadable),
        )

    async def _call(self, operation: str, **arguments: Any) -> Any:
        delay = _RETRY_S
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    reply = await self._ask(operation, **arguments)
                break
            except Exception as error:  # Dask may raise anything for a broken connection
                _logger.info("%s of %s is retried: %r", operation, self.address, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_RETRY_S)
        if reply is None or reply.get("gone"):
            raise StorageUnavailable(f"the worker at {self.address} has ended the experiment")
        if "error" in reply:
            kind = CheckpointUnreadable if reply["damaged"] else StorageError
            raise kind(f"on the worker at {self.address}: {reply['error']}")
        return reply

    async def _ask(self, operation: str, **arguments: Any) -> Any:
        message = {"op": operation, "experiment_id": self._experiment_id, **arguments}
        return await self._scheduler.proxy(worker=self.address, msg=message)
