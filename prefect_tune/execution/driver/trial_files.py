"""`TrialFiles`: copies the files of one trial from nodes to the driver."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path, PurePosixPath

from prefect_tune.execution.files.chunked_copy import (
    LocalDirectory,
    Transfers,
    in_uncancelled_thread,
)
from prefect_tune.execution.files.confined_directory import FileStatus, Piece
from prefect_tune.execution.files.node_client import NodeClient
from prefect_tune.result import DRIVER_FILES

#: File with the names of a trial's files that were copied from nodes, one per line.
RECORD_FILE = ".files_of_nodes"
#: Files that the driver itself writes.
_OWN = DRIVER_FILES | {RECORD_FILE}
#: Default files for the output of trials.
STREAMS = frozenset({"stdout", "stderr"})
#: Bytes that must be unchanged for a larger file to count as appended to.
_OVERLAP = 4096


class TrialFiles:
    """Updates one trial's files on the driver, except for files that the driver writes.

    A file that has only grown is appended to. Another file is replaced at once, also by one of
    the same name that a later attempt writes on another node.

    Args:
        here: The experiment directory.
        directory: The trial's directory, relative to `here`.
        transfers: Limits the memory of copies.
        streams: Files in it to which each attempt adds to what the attempts before it, on other
            nodes, have written.

    Attributes:
        lock: Must be held by callers of `fetch`.
    """

    def __init__(
        self,
        here: LocalDirectory,
        directory: str,
        transfers: Transfers,
        streams: frozenset[str],
    ) -> None:
        self.lock = asyncio.Lock()
        self._here = here
        self._directory = directory
        self._transfers = transfers
        self._streams = streams
        self._seen: dict[tuple[str, str], FileStatus] = {}
        self._owner: dict[str, str] = {}
        self._fetched: set[str] | None = None

    async def fetch(self, node: NodeClient, path: str, status: FileStatus) -> None:
        """Update one file.

        Args:
            node: Client for the node's files.
            path: Path of the file relative to the trial's directory.
            status: Present status of the file on the node.

        Raises:
            StorageError: If it cannot be read or written.
        """
        key = (node.address, path)
        seen = self._seen.get(key)
        if seen == status or path in _OWN or not await in_uncancelled_thread(self._may_write, path):
            return
        # Where the new part begins; a stream that has started again is new as a whole.
        grows = seen is not None and seen.inode == status.inode and status.size >= seen.size
        start = seen.size if seen is not None and grows else 0
        if path in self._streams or (
            self._owner.get(path) == node.address
            and grows
            and await self._is_beginning(node, path, start)
        ):
            position = await in_uncancelled_thread(self._size, path)
            await self._copy(node, path, path, start, status, position)
        else:
            await self._replace(node, path, status)
        self._owner[path] = node.address

    async def _replace(self, node: NodeClient, path: str, status: FileStatus) -> None:
        pure = PurePosixPath(path)
        temporary = str(pure.with_name(f".{pure.name}.tmp-{secrets.token_hex(4)}"))
        try:
            await in_uncancelled_thread(self._here.files.put, self._path(temporary), 0, b"")
            await self._copy(node, path, temporary, 0, status, 0)
            await in_uncancelled_thread(self._rename, temporary, path)
        except BaseException:
            self._seen.pop((node.address, path), None)
            with contextlib.suppress(OSError):
                os.unlink(self._file(temporary))
            raise

    async def _copy(
        self, node: NodeClient, path: str, to: str, start: int, status: FileStatus, position: int
    ) -> None:
        """Copy the node's file from `start` on, and record how far it was copied."""
        read = start

        def write(part: bytes | memoryview) -> None:
            nonlocal read
            self._here.files.put(self._path(to), position + read - start, part)
            read += len(part)
            self._seen[node.address, path] = status._replace(size=read)

        async def sink(part: bytes | memoryview) -> None:
            await in_uncancelled_thread(write, part)

        await self._transfers.stream(node, self._path(path), sink, start, status.size)
        self._seen[node.address, path] = status._replace(size=read)

    async def _is_beginning(self, node: NodeClient, path: str, size: int) -> bool:
        """Return True if the copy equals the file's first `size` bytes, judged by their end."""
        start = max(0, size - _OVERLAP)
        piece = Piece(self._path(path), start, size - start)
        if await in_uncancelled_thread(self._size, path) != size:
            return False
        (there,) = await node.read([piece])
        (here,) = await self._here.read([piece])
        return bytes(there) == bytes(here)

    def _may_write(self, path: str) -> bool:
        """Return True if a file does not exist or was copied from a node, and record its name."""
        record = self._file(RECORD_FILE)
        if self._fetched is None:
            self._fetched = set()
            with contextlib.suppress(FileNotFoundError):
                self._fetched.update(record.read_text(encoding="utf-8").splitlines())
        if path in self._fetched:
            return True
        if path not in self._streams and self._file(path).exists():
            return False
        record.parent.mkdir(parents=True, exist_ok=True)
        with open(record, "a", encoding="utf-8") as file:
            file.write(f"{path}\n")
        self._fetched.add(path)
        return True

    def _path(self, path: str) -> str:
        return f"{self._directory}/{path}"

    def _file(self, path: str) -> Path:
        return self._here.files.resolve(self._path(path))

    def _size(self, path: str) -> int:
        try:
            return self._file(path).stat().st_size
        except FileNotFoundError:
            return 0

    def _rename(self, temporary: str, final: str) -> None:
        os.replace(self._file(temporary), self._file(final))
