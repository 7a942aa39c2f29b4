"""Dask handlers that give the driver access to the files of an experiment on a node."""

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
