"""What a node offers the driver about the files in its own directory of an experiment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed.protocol import to_serialize

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.files.confined_directory import FileArea, Piece

LIST_FILES = "prefect_tune_list_files"
READ_FILES = "prefect_tune_read_files"
WRITE_FILES = "prefect_tune_write_files"
PUBLISH_FILES = "prefect_tune_publish_files"
DISCARD_FILES = "prefect_tune_discard_files"
SETTLE = "prefect_tune_settle"

FILE_OPERATIONS = (LIST_FILES, READ_FILES, WRITE_FILES, PUBLISH_FILES, DISCARD_FILES, SETTLE)

#: What is wrong, in a reply: the checkpoint, or anything else.
DAMAGED = "damaged"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The files of one experiment on this node.

    Attributes:
        area: Its directory.
        settle: Takes what became of a question to the driver; see `DriverRoute.settle`.
    """

    area: FileArea
    settle: Callable[[str, str, str, bool], None]


class FileService:
    """Handlers for a Dask worker; each answers ``{"gone": True}`` if there is nothing to serve.

    Everything that touches a disk happens in a thread: the worker's event loop goes on.

    Args:
        find: The files of an open experiment, by its id.
    """

    def __init__(self, find: Callable[[str], NodeFiles | None]) -> None:
        self._find = find

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """The handlers by name."""
        return {
            LIST_FILES: self.list_files,
            READ_FILES: self.read_files,
            WRITE_FILES: self.write_files,
            PUBLISH_FILES: self.publish_files,
            DISCARD_FILES: self.discard_files,
            SETTLE: self.settle,
        }

    async def list_files(self, experiment_id: str, directory: str) -> dict[str, Any]:
        """What lies in a trial's directory, without its checkpoints: status by path."""

        def work(area: FileArea) -> dict[str, Any]:
            found = area.files(directory, is_checkpoint)
            return {"files": {path: tuple(status) for path, status in found.items()}}

        return await self._in_thread(experiment_id, work)

    async def read_files(self, experiment_id: str, pieces: Sequence[Any]) -> dict[str, Any]:
        """Parts of files, joined, and their lengths."""

        def work(area: FileArea) -> dict[str, Any]:
            data = area.read([Piece(*piece) for piece in pieces])
            joined = data[0] if len(data) == 1 else b"".join(data)
            return {"lengths": list(map(len, data)), "data": to_serialize(joined)}

        return await self._in_thread(experiment_id, work)

    async def write_files(
        self, experiment_id: str, pieces: Sequence[Any], data: bytes
    ) -> dict[str, Any]:
        """Write parts of files into a directory that arrives; `data` are all of them, joined."""

        def work(area: FileArea) -> dict[str, Any]:
            given = [Piece(*piece) for piece in pieces]
            area.write(given, split([piece.length for piece in given], data))
            return {}

        return await self._in_thread(experiment_id, work)

    async def publish_files(self, experiment_id: str, arrived: str, path: str) -> dict[str, Any]:
        """See `FileArea.publish`."""

        def work(area: FileArea) -> dict[str, Any]:
            area.publish(arrived, path)
            return {}

        return await self._in_thread(experiment_id, work)

    async def discard_files(self, experiment_id: str, arrived: str) -> dict[str, Any]:
        """See `FileArea.discard`."""

        def work(area: FileArea) -> dict[str, Any]:
            area.discard(arrived)
            return {}

        return await self._in_thread(experiment_id, work)

    def settle(
        self, experiment_id: str, question: str, path: str, problem: str, damaged: bool
    ) -> dict[str, Any]:
        """Take what became of a question of this node's."""
        files = self._find(experiment_id)
        if files is None:
            return {"gone": True}
        files.settle(question, path, problem, damaged)
        return {}

    async def _in_thread(
        self, experiment_id: str, work: Callable[[FileArea], dict[str, Any]]
    ) -> dict[str, Any]:
        files = self._find(experiment_id)
        if files is None:
            return {"gone": True}
        try:
            return await asyncio.to_thread(work, files.area)
        # An exception would end up in the logs of worker and scheduler as well.
        except CheckpointUnreadable as error:
            return {"error": str(error), "kind": DAMAGED}
        except (StorageError, OSError) as error:
            return {"error": str(error), "kind": FAILED}


def is_checkpoint(name: str) -> bool:
    """True for a name in a trial's directory that is a checkpoint or will become one."""
    return name.startswith(("checkpoint_", ".checkpoint_"))


def split(lengths: Sequence[int], data: bytes | memoryview) -> list[memoryview]:
    """Undo the joining of parts."""
    view, position, parts = memoryview(data), 0, []
    for length in lengths:
        parts.append(view[position : position + length])
        position += length
    return parts
