"""What a node offers the driver about the files in its own directory of an experiment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed.protocol import to_serialize

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.files.confined_directory import ConfinedDirectory, Piece

LIST_FILES = "prefect_tune_list_files"
READ_FILES = "prefect_tune_read_files"
WRITE_FILES = "prefect_tune_write_files"
PUBLISH_FILES = "prefect_tune_publish_files"
DISCARD_FILES = "prefect_tune_discard_files"
ANSWER = "prefect_tune_answer"


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The files of one experiment on this node.

    Attributes:
        directory: Where they are.
        on_answer: Takes what the driver answers to a request, see `DriverRoute.on_answer`.
    """

    directory: ConfinedDirectory
    on_answer: Callable[[bool, str, str, bool], None]


def file_handlers(find: Callable[[str], NodeFiles | None]) -> dict[str, Callable[..., Any]]:
    """Handlers for a Dask worker; each answers ``{"gone": True}`` if there is nothing to serve.

    Everything that touches a disk happens in a thread: the worker's event loop goes on.

    Args:
        find: The files of an open experiment, by its id.
    """

    def in_thread(work: Callable[..., dict[str, Any] | None]) -> Callable[..., Any]:
        async def handle(experiment_id: str, **arguments: Any) -> dict[str, Any]:
            files = find(experiment_id)
            if files is None:
                return {"gone": True}
            try:
                return await asyncio.to_thread(work, files.directory, **arguments) or {}
            # An exception would end up in the logs of worker and scheduler as well.
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
        LIST_FILES: in_thread(_list),
        READ_FILES: in_thread(_read),
        WRITE_FILES: in_thread(_write),
        PUBLISH_FILES: in_thread(ConfinedDirectory.publish),
        DISCARD_FILES: in_thread(ConfinedDirectory.discard),
        ANSWER: answer,
    }


def _list(files: ConfinedDirectory, directory: str) -> dict[str, Any]:
    """What lies in a trial's directory, without its checkpoints: status by path."""
    found = files.files(directory, is_checkpoint)
    return {"files": {path: tuple(status) for path, status in found.items()}}


def _read(files: ConfinedDirectory, pieces: Sequence[Any]) -> dict[str, Any]:
    """Parts of files, joined, and their lengths."""
    data = files.read([Piece(*piece) for piece in pieces])
    joined = data[0] if len(data) == 1 else b"".join(data)
    return {"lengths": list(map(len, data)), "data": to_serialize(joined)}


def _write(files: ConfinedDirectory, pieces: Sequence[Any], data: bytes) -> None:
    """Write parts of files into a directory that arrives; `data` are all of them, joined."""
    given = [Piece(*piece) for piece in pieces]
    files.write(given, split([piece.length for piece in given], data))


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
