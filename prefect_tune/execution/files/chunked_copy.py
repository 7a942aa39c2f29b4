"""Moving a checkpoint between two machines, chunk by chunk."""

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

#: Chunks of one checkpoint that are under way at once.
_ABREAST = 4
#: Small files travel together, but so many at most.
_PIECES = 256
_DISCARD_S = 3.0

P = ParamSpec("P")
T = TypeVar("T")

Contents = Sequence[bytes | memoryview]


class FilePlace(Protocol):
    """One side of a transfer: what a `ConfinedDirectory` does, here or elsewhere."""

    async def read(self, pieces: Sequence[Piece]) -> Contents:
        """Read parts of files; one is shorter than asked for if its file is."""
        ...

    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        """Write parts of files of a directory that arrives."""
        ...

    async def publish(self, arrived: str, path: str) -> None:
        """Give a checkpoint that has arrived its final name, if it is complete."""
        ...

    async def discard(self, arrived: str) -> None:
        """Remove a directory that arrives."""
        ...


class LocalDirectory(FilePlace):
    """A directory on this machine as a `FilePlace`.

    Args:
        root: The directory; need not exist yet.

    Attributes:
        files: Its files, for those who may block.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.files = ConfinedDirectory(root)

    @override
    async def read(self, pieces: Sequence[Piece]) -> Contents:
        return await in_thread(self.files.read, pieces)

    @override
    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        await in_thread(self.files.write, pieces, data)

    @override
    async def publish(self, arrived: str, path: str) -> None:
        await in_thread(self.files.publish, arrived, path)

    @override
    async def discard(self, arrived: str) -> None:
        await in_thread(self.files.discard, arrived)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call in a thread; when cancelled, end only once the call is over.

    Or else it would go on to write to what is being removed.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():  # whoever gives up may be cancelled once more
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        call.exception()  # which nobody is told of
        raise


@dataclass(frozen=True, slots=True)
class At:
    """A directory at a place.

    Attributes:
        place: The place.
        path: The directory's path there; "" is the place itself.
    """

    place: FilePlace
    path: str

    async def read(self, pieces: Sequence[Piece]) -> Contents:
        """Read parts of files in the directory."""
        return await self.place.read(self._below(pieces))

    async def write(self, pieces: Sequence[Piece], data: Contents) -> None:
        """Write parts of files in the directory."""
        await self.place.write(self._below(pieces), data)

    def file(self, name: str) -> str:
        """The path of a file in the directory."""
        return f"{self.path}/{name}" if self.path else name

    def _below(self, pieces: Sequence[Piece]) -> list[Piece]:
        return [piece._replace(path=self.file(piece.path)) for piece in pieces]


class Transfers:
    """Moves checkpoints, a bounded number of chunks at a time.

    Args:
        timeout_s: Seconds after which a transfer is given up.
        chunks: How many chunks all transfers together hold in memory.
    """

    def __init__(self, timeout_s: float, chunks: int = 8) -> None:
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(chunks)

    async def copy(self, source: At, target: At) -> None:
        """Copy a checkpoint; it appears complete, or not at all.

        Args:
            source: Where it is.
            target: Where it shall be.

        Raises:
            CheckpointUnreadable: If it is incomplete at the source.
            StorageUnavailable: If it takes too long.
            StorageError: If it cannot be read or written.
        """
        final = PurePosixPath(target.path)
        name = arriving_name(final.name, secrets.token_hex(8))
        arriving = At(target.place, str(final.with_name(name)))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._copy(source, arriving)
                await target.place.publish(arriving.path, target.path)
        except BaseException as error:
            # A node that is gone is not waited for.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_DISCARD_S):
                    await target.place.discard(arriving.path)
            if isinstance(error, TimeoutError):
                raise StorageUnavailable(
                    f"{target.path} could not be transferred within {self._timeout_s:g} s"
                ) from None
            raise

    async def _copy(self, source: At, target: At) -> None:
        marker = bytearray()

        async def keep(part: bytes | memoryview) -> None:
            marker.extend(part)

        await self.stream(source.place, source.file(MARKER), keep)
        try:
            manifest = Manifest.decode(bytes(marker))
        except ValueError as error:
            raise CheckpointUnreadable(f"{source.path}: {error}") from error
        batches = plan({**manifest.files, MARKER: len(marker)})
        await _all(self._work(batches, source, target) for _ in range(_ABREAST))

    async def _work(self, batches: Iterator[list[Piece]], source: At, target: At) -> None:
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
        source: FilePlace,
        path: str,
        sink: Callable[[bytes | memoryview], Awaitable[None]],
        offset: int = 0,
        end: int | None = None,
    ) -> None:
        """Read one file in order; memory is bounded together with the transfers.

        Args:
            source: Where it is.
            path: Its path there.
            sink: Takes each part.
            offset: Where to begin.
            end: Where to end; None is the end of the file. The file may end before.
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


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def plan(files: Mapping[str, int]) -> Iterator[list[Piece]]:
    """Cut files into batches of at most a chunk each; an empty file is a piece as well.

    Args:
        files: Sizes by path.
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
