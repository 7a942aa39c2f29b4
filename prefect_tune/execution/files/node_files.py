"""The files of an experiment on a node for its driver: Dask handlers there, and their client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed.protocol import to_serialize
from typing_extensions import override

from prefect_tune.error import CheckpointUnreadable, StorageError, StorageUnavailable
from prefect_tune.execution.files.chunked_copy import Contents, FileAccess
from prefect_tune.execution.files.confined_directory import ConfinedDirectory, FileStatus, Piece
from prefect_tune.execution.protocol.reports import CheckpointRequest, CopyToDriver

LIST_FILES = "prefect_tune_list_files"
READ_FILES = "prefect_tune_read_files"
WRITE_FILES = "prefect_tune_write_files"
PUBLISH_FILES = "prefect_tune_publish_files"
DISCARD_FILES = "prefect_tune_discard_files"
ANSWER = "prefect_tune_answer"
_logger = logging.getLogger(__name__)
_ANSWER_S = 60.0
_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Files of one experiment on this node, for the handlers.

    Attributes:
        directory: Directory of the experiment on this node.
        on_answer: Handles the driver's answer to a request, see `DriverRoute.on_answer`.
    """

    directory: ConfinedDirectory
    on_answer: Callable[[bool, str, str, bool], None]


def file_handlers(find: Callable[[str], NodeFiles | None]) -> dict[str, Callable[..., Any]]:
    """Return handlers for a Dask worker; they answer ``{"gone": True}`` if there are no files.

    Disks are accessed in threads only, so that the worker's event loop is never blocked.

    Args:
        find: Returns the files of an open experiment by its id, or None.
    """

    def answered_in_thread(work: Callable[..., dict[str, Any] | None]) -> Callable[..., Any]:
        async def handle(experiment_id: str, **arguments: Any) -> dict[str, Any]:
            files = find(experiment_id)
            if files is None:
                return {"gone": True}
            try:
                return await asyncio.to_thread(work, files.directory, **arguments) or {}
            # Dask would also log a raised exception on the worker and the scheduler.
            except (StorageError, OSError) as error:
                return {"error": str(error), "damaged": isinstance(error, CheckpointUnreadable)}

        return handle

    def answer(experiment_id: str, **arguments: Any) -> dict[str, Any]:
        files = find(experiment_id)
        if files is None:
            return {"gone": True}
        take: Callable[..., None] = files.on_answer
        take(**arguments)
        return {}

    return {
        LIST_FILES: answered_in_thread(_list),
        READ_FILES: answered_in_thread(_read),
        WRITE_FILES: answered_in_thread(_write),
        PUBLISH_FILES: answered_in_thread(ConfinedDirectory.publish),
        DISCARD_FILES: answered_in_thread(ConfinedDirectory.discard),
        ANSWER: answer,
    }


def _list(files: ConfinedDirectory, directory: str) -> dict[str, Any]:
    """Return the status of a trial's files by path, without checkpoints."""
    found = files.files(directory, is_checkpoint)
    return {"files": {path: tuple(status) for path, status in found.items()}}


def _read(files: ConfinedDirectory, pieces: Sequence[Any]) -> dict[str, Any]:
    """Return parts of files, joined, and their lengths."""
    data = files.read([Piece(*piece) for piece in pieces])
    joined = data[0] if len(data) == 1 else b"".join(data)
    return {"lengths": list(map(len, data)), "data": to_serialize(joined)}


def _write(files: ConfinedDirectory, pieces: Sequence[Any], data: bytes) -> None:
    """Write joined parts of files into the directory of an incoming checkpoint."""
    given = [Piece(*piece) for piece in pieces]
    files.write(given, split([piece.length for piece in given], data))


def is_checkpoint(name: str) -> bool:
    """Return True for the name of a complete or unfinished checkpoint in a trial's directory."""
    return name.startswith(("checkpoint_", ".checkpoint_"))


def split(lengths: Sequence[int], data: bytes | memoryview) -> list[memoryview]:
    """Split joined parts by their lengths."""
    view, position, parts = memoryview(data), 0, []
    for length in lengths:
        parts.append(view[position : position + length])
        position += length
    return parts


@dataclass(eq=False)
class NodeClient(FileAccess):
    """`FileAccess` for an experiment's directory on a node, used in the Dask client's event loop.

    Calls go through the scheduler, because a driver often cannot reach the workers directly. A call
    whose answer is lost is repeated until the caller gives up; all calls may be repeated safely.

    Args:
        scheduler: The client's scheduler stub.
        address: Address of the node's worker.
        experiment_id: Id of the experiment.
    """

    scheduler: Any
    address: str
    experiment_id: str

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
        message = {"op": operation, "experiment_id": self.experiment_id, **arguments}
        return await self.scheduler.proxy(worker=self.address, msg=message)
