"""`ConfinedDirectory`: reads and writes files below one directory, and none outside."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from prefect_tune.checkpoint.manifest import publish, verify
from prefect_tune.error import CheckpointUnreadable, StorageError, storage_errors

#: Bytes that one call reads or writes at most, which limits memory and the time of a call.
CHUNK_BYTES = 1 << 20
#: Name of the hidden temporary directory for an incoming checkpoint, made from its final name.
_ARRIVING = re.compile(r"\.[^/]+\.tmp-arriving-[0-9a-f]+")


class Piece(NamedTuple):
    """Part of a file: relative path (``/`` as separator), offset and length in bytes."""

    path: str
    offset: int
    length: int


class FileStatus(NamedTuple):
    """Size, time and inode of a file, which differ after a change."""

    size: int
    mtime_ns: int
    inode: int


def arriving_name(name: str, token: str) -> str:
    """Return the name of the temporary directory for an incoming checkpoint.

    Args:
        name: The checkpoint's final name.
        token: Unique hexadecimal digits.
    """
    return f".{name}.tmp-arriving-{token}"


class ConfinedDirectory:
    """Directory whose files are exchanged with another machine; all methods block.

    Paths are relative. A path out of the directory, by ``..``, as an absolute path or
    through a link, is refused with a `StorageError`, as is a file that cannot be read or written.

    Args:
        root: The directory; need not exist yet.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def resolve(self, path: str) -> Path:
        """Return the absolute path of a relative path, with links resolved.

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
        """Return the status of the regular files below a directory by relative path; skip links.

        Args:
            directory: Relative path of the directory, which need not exist.
            skip: Returns True for names at the top that are left out.
        """
        top = self.resolve(directory)
        return dict(_walk(top, "", skip))

    def read(self, pieces: Sequence[Piece]) -> list[bytes]:
        """Read parts of files; one is shorter than asked for if its file is.

        Raises:
            CheckpointUnreadable: If a file does not exist.
            StorageError: If a file is outside or cannot be read, or the parts exceed one chunk.
        """
        _check_size(sum(piece.length for piece in pieces))
        return [self._read(piece) for piece in pieces]

    def write(self, pieces: Sequence[Piece], data: Sequence[bytes | memoryview]) -> None:
        """Write parts of files into the directory of an incoming checkpoint, which is created.

        Raises:
            StorageError: If a file is outside such a directory, or cannot be written.
        """
        _check_size(sum(map(len, data)))
        for piece, content in zip(pieces, data, strict=True):
            if not any(map(_ARRIVING.fullmatch, PurePosixPath(piece.path).parts[:-1])):
                raise StorageError(
                    f"{piece.path!r} is not in the directory of an incoming checkpoint"
                )
            self.put(piece.path, piece.offset, content)

    def put(self, path: str, offset: int, content: bytes | memoryview) -> None:
        """Write a part of a file, which is created if missing.

        Raises:
            StorageError: If the file is outside the directory, or cannot be written.
        """
        file = self.resolve(path)
        with storage_errors(f"write {file}"):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                while content:
                    written = os.pwrite(descriptor, content, offset)
                    offset, content = offset + written, memoryview(content)[written:]
            finally:
                os.close(descriptor)

    def publish(self, arrived: str, path: str) -> None:
        """Give a checkpoint that has arrived its final name, if it is complete.

        May be repeated: a complete checkpoint of the final name stays.

        Raises:
            CheckpointUnreadable: If the incoming checkpoint is not complete.
            StorageError: If a path is outside the directory, or cannot be renamed.
        """
        temporary, final = self._arriving(arrived), self.resolve(path)
        problem = verify(temporary)
        if not problem and verify(final):
            with storage_errors(f"rename to {final}"):
                publish(temporary, final)
            return
        self.discard(arrived)
        if problem and verify(final):
            raise CheckpointUnreadable(f"the copy of {path} is damaged: {problem}")

    def discard(self, arrived: str) -> None:
        """Remove the directory of an incoming checkpoint.

        Raises:
            StorageError: If the path is outside or not the directory of an incoming checkpoint.
        """
        shutil.rmtree(self._arriving(arrived), ignore_errors=True)

    def discard_arriving(self, directory: str) -> None:
        """Remove all incoming checkpoints in a directory.

        Raises:
            StorageError: If the directory is outside, or cannot be cleared.
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
            raise StorageError(f"{path!r} is not the directory of an incoming checkpoint")
        return directory

    def _read(self, piece: Piece) -> bytes:
        file = self.resolve(piece.path)
        with storage_errors(f"read {file}"):
            try:
                descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                raise CheckpointUnreadable(f"{file} is missing") from None
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise StorageError(f"{file} is not a regular file")
                return os.pread(descriptor, piece.length, piece.offset)
            finally:
                os.close(descriptor)


def _check_size(size: int) -> None:
    if size > CHUNK_BYTES:
        raise StorageError(f"{size} bytes at once are more than {CHUNK_BYTES}")


def _walk(
    directory: Path, prefix: str, skip: Callable[[str], bool]
) -> Iterator[tuple[str, FileStatus]]:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):  # it may have just been removed
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
