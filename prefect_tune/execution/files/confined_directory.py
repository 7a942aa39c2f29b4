"""The files below one directory, read and written in chunks, and nothing outside it."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from prefect_tune.checkpoint.manifest import publish, verify
from prefect_tune.error import CheckpointUnreadable, StorageError

#: The most that one call reads or writes: what is held in memory, and how long a loop is busy.
CHUNK_BYTES = 1 << 20
#: A temporary directory that a checkpoint arrives in: hidden, and named after what it becomes.
_ARRIVING = re.compile(r"\.[^/]+\.tmp-arriving-[0-9a-f]+")


class Piece(NamedTuple):
    """A part of a file: path relative to the directory (``/`` as separator), and bytes."""

    path: str
    offset: int
    length: int


class FileStatus(NamedTuple):
    """What tells whether a file has changed."""

    size: int
    mtime_ns: int
    inode: int


def arriving_name(name: str, token: str) -> str:
    """Name of the directory in which the directory `name` arrives.

    Args:
        name: Its final name.
        token: Hexadecimal digits that nobody else uses.
    """
    return f".{name}.tmp-arriving-{token}"


class ConfinedDirectory:
    """A directory whose files are exchanged. All methods block; call them from a thread.

    Paths are relative. One that leads out of the directory, by ``..``, as an absolute path or
    through a link, is refused with a `StorageError`, as is a file that cannot be read or written.

    Args:
        root: The directory; need not exist yet.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def resolve(self, path: str) -> Path:
        """The file or directory of a relative path.

        Raises:
            StorageError: If it is outside.
        """
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\0" in path or ".." in parts:
            raise StorageError(f"{path!r} is not a path below {self.root}")
        root = os.path.realpath(self.root)
        real = os.path.realpath(os.path.join(root, *parts))
        if not real.startswith(root + os.sep):
            raise StorageError(f"{path!r} leads out of {self.root}, to {real}")
        return Path(real)

    def files(self, directory: str, skip: Callable[[str], bool]) -> dict[str, FileStatus]:
        """The regular files below a directory by their paths relative to it; links are left out.

        Args:
            directory: Relative path; nothing is there if there is no such directory.
            skip: Says of a name at the top whether to leave it out.
        """
        top = self.resolve(directory)
        return dict(_walk(top, "", skip))

    def read(self, pieces: Sequence[Piece]) -> list[bytes]:
        """Read parts of files; one is shorter than asked for if its file is.

        Raises:
            CheckpointUnreadable: If a file is not there.
            StorageError: If one is outside, or cannot be read, or they are more than a chunk.
        """
        _check_size(sum(piece.length for piece in pieces))
        return [self._read(piece) for piece in pieces]

    def write(self, pieces: Sequence[Piece], data: Sequence[bytes | memoryview]) -> None:
        """Write parts of files of a directory that arrives; made as needed.

        Raises:
            StorageError: If one is outside of such a directory, or cannot be written.
        """
        _check_size(sum(map(len, data)))
        for piece, content in zip(pieces, data, strict=True):
            if not any(map(_ARRIVING.fullmatch, PurePosixPath(piece.path).parts[:-1])):
                raise StorageError(f"{piece.path!r} is not in a directory that arrives")
            self.put(piece.path, piece.offset, content)

    def put(self, path: str, offset: int, content: bytes | memoryview) -> None:
        """Write a part of a file, which is made if need be.

        Raises:
            StorageError: If it is outside, or cannot be written.
        """
        file = self.resolve(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                while content:
                    written = os.pwrite(descriptor, content, offset)
                    offset, content = offset + written, memoryview(content)[written:]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(f"cannot write {file}: {error.strerror or error}") from error

    def publish(self, arrived: str, path: str) -> None:
        """Give a checkpoint that has arrived its final name, if it is complete.

        May be repeated: if there is a complete one of that name, it stays.

        Raises:
            CheckpointUnreadable: If it is not complete.
            StorageError: If one of them is outside, or cannot be renamed.
        """
        temporary, final = self._arriving(arrived), self.resolve(path)
        problem = verify(temporary)
        if not problem and verify(final):
            try:
                publish(temporary, final)
            except OSError as error:
                raise StorageError(f"cannot rename to {final}: {error.strerror}") from error
            return
        self.discard(arrived)
        if problem and verify(final):
            raise CheckpointUnreadable(f"what has arrived of {path} is damaged: {problem}")

    def discard(self, arrived: str) -> None:
        """Remove a directory that arrives.

        Raises:
            StorageError: If it is outside or not such a directory.
        """
        shutil.rmtree(self._arriving(arrived), ignore_errors=True)

    def discard_arriving(self, directory: str) -> None:
        """Remove everything that arrives in a directory.

        Raises:
            StorageError: If the directory is outside, or something cannot be removed.
        """
        top = self.resolve(directory)
        if not top.is_dir():
            return
        for entry in list(os.scandir(top)):
            if _ARRIVING.fullmatch(entry.name):
                shutil.rmtree(entry.path, ignore_errors=True)

    def _arriving(self, path: str) -> Path:
        directory = self.resolve(path)
        if not _ARRIVING.fullmatch(directory.name):
            raise StorageError(f"{path!r} is not a directory that arrives")
        return directory

    def _read(self, piece: Piece) -> bytes:
        file = self.resolve(piece.path)
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise StorageError(f"{file} is not a regular file")
                return os.pread(descriptor, piece.length, piece.offset)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise CheckpointUnreadable(f"{file} is missing") from None
        except OSError as error:
            raise StorageError(f"cannot read {file}: {error.strerror or error}") from error


def _check_size(size: int) -> None:
    if size > CHUNK_BYTES:
        raise StorageError(f"{size} bytes at once are more than {CHUNK_BYTES}")


def _walk(
    directory: Path, prefix: str, skip: Callable[[str], bool]
) -> Iterator[tuple[str, FileStatus]]:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):  # also: removed while we look
        return
    for entry in entries:
        if not prefix and skip(entry.name):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", skip)
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat()
                yield (
                    prefix + entry.name,
                    FileStatus(status.st_size, status.st_mtime_ns, status.st_ino),
                )
        except FileNotFoundError:
            continue
