"""Copies checkpoints between two machines, chunk by chunk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ParamSpec, Protocol, TypeVar

from typing_extensions import override

from prefect_tune.checkpoint.manifest import MARKER, Manifest
from prefect_tune.error import CheckpointUnreadable, StorageUnavailable
from prefect_tune.execution.files.confined_directory import (
    CHUNK_BYTES,
    ConfinedDirectory,
    Piece,
    arriving_name,
)

#: Chunks of one checkpoint that are transferred in parallel.
_MAX_PARALLEL = 4
#: Parts of files in one batch at most.
_PIECES = 256
_DISCARD_S = 3.0

P = ParamSpec("P")
T = TypeVar("T")

Contents = Sequence[bytes | memoryview]


class FileAccess(Protocol):
    """Directory on this or another machine, as source or target of a transfer."""

    async def read(self, pieces: Sequence[Piece]) -> Contents:
        """Read parts of files; a part is shorter if its file ends before."""

    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        """Write parts of files into a directory for an incoming checkpoint."""

    async def publish(self, arrived: str, path: str) -> None:
        """Rename an incoming checkpoint to its final name, if it is complete."""

    async def discard(self, arrived: str) -> None:
        """Remove the directory of an incoming checkpoint."""


class LocalDirectory(FileAccess):
    """`FileAccess` for a directory on this machine.

    Args:
        root: The directory, which need not exist yet.

    Attributes:
        files: The directory with blocking methods.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.files = ConfinedDirectory(root)

    @override
    async def read(self, pieces: Sequence[Piece]) -> Contents:
        return await in_uncancelled_thread(self.files.read, pieces)

    @override
    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        await in_uncancelled_thread(self.files.write, pieces, data)

    @override
    async def publish(self, arrived: str, path: str) -> None:
        await in_uncancelled_thread(self.files.publish, arrived, path)

    @override
    async def discard(self, arrived: str) -> None:
        await in_uncancelled_thread(self.files.discard, arrived)


async def in_uncancelled_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread; if cancelled, wait until the call has ended.

    Otherwise the call could write into a directory that is being removed.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():  # the caller may be cancelled again meanwhile
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        call.exception()  # marks it as retrieved
        raise


@dataclass(frozen=True, slots=True)
class TransferEnd:
    """Source or target of a copy: a directory that a `FileAccess` reaches.

    Attributes:
        access: Reads and writes the files.
        path: Path of the directory for `access`; "" for the one that it is for itself.
    """

    access: FileAccess
    path: str

    async def read(self, pieces: Sequence[Piece]) -> Contents:
        """Read parts of files in the directory."""
        return await self.access.read(self._below(pieces))

    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        """Write parts of files in the directory."""
        await self.access.write(self._below(pieces), data)

    def file(self, name: str) -> str:
        """Return the path of a file of the directory, as `access` takes it."""
        return f"{self.path}/{name}" if self.path else name

    def _below(self, pieces: Sequence[Piece]) -> list[Piece]:
        return [piece._replace(path=self.file(piece.path)) for piece in pieces]


class Transfers:
    """Copies checkpoints, with a limited number of chunks in memory.

    Args:
        timeout_s: Seconds after which a transfer is given up.
        chunks: How many chunks all transfers together may hold in memory.
    """

    def __init__(self, timeout_s: float, chunks: int = 8) -> None:
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(chunks)

    async def copy(self, source: TransferEnd, target: TransferEnd) -> None:
        """Copy a checkpoint, atomically.

        Args:
            source: Directory of the checkpoint.
            target: The directory to create.

        Raises:
            CheckpointUnreadable: If the checkpoint is incomplete at the source.
            StorageUnavailable: If the copy takes too long.
            StorageError: If a file cannot be read or written.
        """
        final = PurePosixPath(target.path)
        name = arriving_name(final.name, secrets.token_hex(8))
        arriving = TransferEnd(target.access, str(final.with_name(name)))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._copy(source, arriving)
                await target.access.publish(arriving.path, target.path)
        except BaseException as error:
            # The wait is short, because the node may be gone.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_DISCARD_S):
                    await target.access.discard(arriving.path)
            if isinstance(error, TimeoutError):
                raise StorageUnavailable(
                    f"{target.path} could not be transferred within {self._timeout_s:g} s"
                ) from None
            raise

    async def _copy(self, source: TransferEnd, target: TransferEnd) -> None:
        marker = bytearray()

        async def keep(part: bytes | memoryview) -> None:
            marker.extend(part)

        await self.stream(source.access, source.file(MARKER), keep)
        try:
            manifest = Manifest.decode(bytes(marker))
        except ValueError as error:
            raise CheckpointUnreadable(f"{source.path}: {error}") from error
        batches = in_batches({**manifest.files, MARKER: len(marker)})
        await _run_all(self._copy_batches(batches, source, target) for _ in range(_MAX_PARALLEL))

    async def _copy_batches(
        self, batches: Iterator[list[Piece]], source: TransferEnd, target: TransferEnd
    ) -> None:
        for batch in batches:
            async with self._room:
                data = await source.read(batch)
                for piece, content in zip(batch, data, strict=True):
                    if len(content) != piece.length:
                        raise CheckpointUnreadable(
                            f"{source.file(piece.path)} has fewer bytes than {MARKER} lists"
                        )
                await target.write(batch, data)

    async def stream(
        self,
        source: FileAccess,
        path: str,
        sink: Callable[[bytes | memoryview], Awaitable[None]],
        offset: int = 0,
        end: int | None = None,
    ) -> None:
        """Read one file in order, chunk by chunk, within the same limit of memory.

        Args:
            source: Place of the file.
            path: Path of the file in `source`.
            sink: Called with each chunk.
            offset: Position to start at.
            end: Position to end at; None is the end of the file. The file may end before.
        """
        while end is None or offset < end:
            length = CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - offset)
            async with self._room:
                (content,) = await source.read([Piece(path, offset, length)])
                if content:
                    await sink(content)
            offset += len(content)
            if len(content) < length:
                return


async def _run_all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines concurrently; cancel the others when one fails."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def in_batches(files: Mapping[str, int]) -> Iterator[list[Piece]]:
    """Divide files into batches of parts, each of at most one chunk; an empty file is one part.

    Args:
        files: Sizes of the files by path.
    """
    batch: list[Piece] = []
    room = CHUNK_BYTES
    for path, size in files.items():
        offset = 0
        while True:
            length = min(size - offset, CHUNK_BYTES)
            if batch and (length > room or len(batch) == _PIECES):
                yield batch
                batch, room = [], CHUNK_BYTES
            batch.append(Piece(path, offset, length))
            offset, room = offset + length, room - length
            if offset == size:
                break
    if batch:
        yield batch
