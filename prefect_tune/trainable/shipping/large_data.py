"""Sends large objects of a trainable to a node, where all trials share one copy in memory.

On the driver the objects stay in place, and are sent to each node piece by piece. A node collects
them in an unnamed file. The process that trials are forked from copies the file into its own
memory, in huge pages, which forks share at no cost, and the file is closed. Trials that
start as new interpreters map the file and share its pages.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from prefect_tune.error import StorageError

#: Alignment in bytes that suits the vector units of all processors.
_ALIGNMENT = 64
_NAME = "prefect_tune-data-"
#: Share of the free memory that a file in memory may use; larger files go to the disk.
_SHARE_OF_MEMORY = 0.5


class DataParts:
    """Large objects on the driver; pickled as an empty `DataFile` for the same objects.

    Args:
        parts: Bytes of the objects, which are not copied.
    """

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts = [memoryview(part).cast("B") for part in parts]
        self._places: list[tuple[int, int]] = []
        end = 0
        for part in self._parts:
            start = end + -end % _ALIGNMENT
            end = start + part.nbytes
            self._places.append((start, part.nbytes))
        self.size = end

    def __reduce__(self) -> tuple[Any, ...]:
        return DataFile, (tuple(self._places), self.size)

    def read(self, offset: int, length: int) -> bytes:
        """Return a range of the file's content; shorter at the end of the file."""
        end = min(offset + length, self.size)
        content = bytearray(end - offset)
        for (start, nbytes), part in zip(self._places, self._parts, strict=True):
            first, last = max(start, offset), min(start + nbytes, end)
            if first < last:
                content[first - offset : last - offset] = part[first - start : last - start]
        return bytes(content)

    def views(self, own: bool = False) -> list[memoryview]:
        """Return the bytes of each object."""
        return list(self._parts)


class DataFile:
    """Large objects on a node: a file that one process holds and others can open.

    Args:
        places: Offset and length of each object, in bytes.
        size: Length of the whole, in bytes.
        path: Path of the file for processes of this node; None if it does not exist yet.
    """

    def __init__(
        self, places: Sequence[tuple[int, int]], size: int, path: str | None = None
    ) -> None:
        self.size = size
        self._places = tuple(places)
        self._path = path
        self._holder: IO[bytes] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._places, self.size, self._path)

    @property
    def is_here(self) -> bool:
        """True if the file exists on this node."""
        return self._path is not None

    def create(self) -> DataFile:
        """Create an empty file for the same objects, held by this process.

        Raises:
            StorageError: If the file cannot be created.
        """
        try:
            path, holder = _new_file(self.size)
        except OSError as error:
            raise _not_written(error) from error
        file = DataFile(self._places, self.size, path)
        file._holder = holder
        return file

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes that have arrived.

        Raises:
            StorageError: If the file cannot be written, or is closed.
        """
        if self._holder is None:
            raise StorageError("The file with the trainable's data is closed.")
        try:
            os.pwrite(self._holder.fileno(), data, offset)
        except OSError as error:
            raise _not_written(error) from error

    def close(self) -> None:
        """Close the file; processes that have read or mapped it keep its content."""
        self._path = None
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def views(self, own: bool = False) -> list[memoryview]:
        """Return the bytes of each object, in memory that may be changed without changing the file.

        Args:
            own: True to copy them into memory of this process, to be shared with its forks; else
                the file is mapped.

        Raises:
            StorageError: If the file does not exist.
        """
        if self._path is None:
            raise StorageError("The trainable's data is not on this node.")
        try:
            with open(self._path, "rb") as file:
                whole = memoryview(
                    _copy(file, self.size)
                    if own
                    else mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_COPY)
                )
        except (OSError, ValueError) as error:
            raise StorageError(f"The trainable's data cannot be read: {error}") from error
        return [whole[start : start + nbytes] for start, nbytes in self._places]


def _copy(file: IO[bytes], size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    with memoryview(memory) as target:
        done = 0
        while done < size:
            count = os.preadv(file.fileno(), [target[done : done + (64 << 20)]], done)
            if not count:
                raise OSError("the file is too short")
            done += count
    return memory


def _new_file(size: int) -> tuple[str, IO[bytes]]:
    """Create a file; return it with a path by which other processes of this node can open it."""
    if not os.path.isdir("/proc/self/fd"):
        named = tempfile.NamedTemporaryFile(prefix=_NAME)  # noqa: SIM115  held open
        return named.name, named.file
    file: IO[bytes]
    if hasattr(os, "memfd_create") and size <= _free_memory() * _SHARE_OF_MEMORY:
        file = open(os.memfd_create(_NAME), "w+b")  # noqa: SIM115  held open
    else:
        file = tempfile.TemporaryFile(prefix=_NAME)  # noqa: SIM115  held open
    return f"/proc/{os.getpid()}/fd/{file.fileno()}", file


def _free_memory() -> int:
    """Return how many bytes of memory this process may still use."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text()
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or cgroup version 1
        return free


def _not_written(error: OSError) -> StorageError:
    return StorageError(
        f"The trainable's data cannot be written to {tempfile.gettempdir()}: {error}. "
        "Set TMPDIR to a directory with enough room."
    )
