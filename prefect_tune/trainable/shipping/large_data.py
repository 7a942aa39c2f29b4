"""Large objects of a trainable, which a node has in its memory once, however many trials use them.

On the driver they stay where the user has them, and go to each node piece by piece. A node collects
them in a file without a name. The process that its trials are forked from copies it into memory of
its own, in huge pages, which a fork costs nothing to share, and the file is given up. Trials that
start as fresh interpreters each map the file, whose pages they share.
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

#: Address and length of arrays in memory are good for the vector units of all processors.
_ALIGNMENT = 64
_NAME = "prefect_tune-data-"
#: Of the free memory, the part that a file may take; a larger one goes to the disk.
_SHARE_OF_MEMORY = 0.5


class DataParts:
    """Large objects where they were made; what travels is an empty `DataFile` for them.

    Args:
        parts: Their bytes; not copied.
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
        """Some of the content that the file is to have; shorter at its end."""
        end = min(offset + length, self.size)
        content = bytearray(end - offset)
        for (start, nbytes), part in zip(self._places, self._parts, strict=True):
            first, last = max(start, offset), min(start + nbytes, end)
            if first < last:
                content[first - offset : last - offset] = part[first - start : last - start]
        return bytes(content)

    def views(self, own: bool = False) -> list[memoryview]:
        """The objects' bytes."""
        return list(self._parts)


class DataFile:
    """The same on a node: a file that belongs to one process and can be opened by others.

    Args:
        places: Offset and length of each object, in bytes.
        size: Length of the whole, in bytes.
        path: Where processes of this node find it; None if it is not here yet.
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
        """Whether there is a file."""
        return self._path is not None

    def create(self) -> DataFile:
        """An empty file for the same objects, held by this process.

        Raises:
            StorageError: If it cannot be made.
        """
        try:
            path, holder = _new_file(self.size)
        except OSError as error:
            raise _not_written(error) from error
        file = DataFile(self._places, self.size, path)
        file._holder = holder
        return file

    def write(self, offset: int, data: bytes) -> None:
        """Fill in what has arrived.

        Raises:
            StorageError: If it cannot be written, or the file has been closed.
        """
        if self._holder is None:
            raise StorageError("The trainable's data has been given up.")
        try:
            os.pwrite(self._holder.fileno(), data, offset)
        except OSError as error:
            raise _not_written(error) from error

    def close(self) -> None:
        """Give the file up; who has read or mapped it keeps what it has."""
        self._path = None
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def views(self, own: bool = False) -> list[memoryview]:
        """The objects' bytes, in memory that this process may write to without changing the file.

        Args:
            own: Copy them into memory of this process, for the processes that it forks; else the
                memory is that of the file as long as nobody writes to it.

        Raises:
            StorageError: If the file is gone.
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
    """A new file and a path by which other processes of this node can open it."""
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
    """Bytes of memory that this process may still take."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text()
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or an older kind
        return free


def _not_written(error: OSError) -> StorageError:
    return StorageError(
        f"The trainable's data cannot be written to {tempfile.gettempdir()}: {error}. "
        "Set TMPDIR to a directory with enough room."
    )
