"""Copies files and directories as cheaply as the file system allows."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

_CHUNK = 1 << 30
#: Errors of file systems that do not support the operation.
_UNSUPPORTED = frozenset(
    getattr(errno, name)
    for name in "EXDEV EINVAL ENOSYS EOPNOTSUPP ENOTTY EPERM EBADF ETXTBSY".split()
)


def clone_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy content and permissions of a file, within the kernel if possible.

    The kernel shares blocks where the file system can. The copy is never a hard link: writing to
    one file later does not change the other.

    Raises:
        OSError: If a file cannot be read or written.
    """
    with open(source, "rb") as reader, open(target, "wb") as writer:
        if hasattr(os, "copy_file_range"):
            position = 0
            try:
                while copied := os.copy_file_range(
                    reader.fileno(), writer.fileno(), _CHUNK, position, position
                ):
                    position += copied
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
        # The bytes that the kernel did not copy, or that were appended meanwhile.
        reader.seek(writer.seek(0, os.SEEK_END))
        shutil.copyfileobj(reader, writer, 1 << 20)
    shutil.copymode(source, target)


def clone_tree(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy the content of a directory into another one, which is created if missing.

    Links are replaced by copies of their targets; broken links stay links. Sockets and pipes are
    skipped.

    Args:
        source: The directory to copy.
        target: The directory to copy into; files of the same names are replaced.

    Raises:
        OSError: If something cannot be read or written.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    # Without the target among the visited directories, a copy into a subdirectory would never end.
    _clone(Path(source), Path(target), frozenset({_identity(Path(target).stat())}))


def _clone(source: Path, target: Path, visited: frozenset[tuple[int, int]]) -> None:
    target.mkdir(exist_ok=True)
    visited |= {_identity(source.stat())}
    with os.scandir(source) as entries:
        for entry in entries:
            to = target / entry.name
            try:
                status = entry.stat()
            except FileNotFoundError:
                if entry.is_symlink() and not to.is_symlink():
                    to.symlink_to(os.readlink(entry.path))
                continue
            if stat.S_ISREG(status.st_mode):
                clone_file(entry.path, to)
            elif stat.S_ISDIR(status.st_mode) and _identity(status) not in visited:
                _clone(Path(entry.path), to, visited)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def remove_tree(directory: str | os.PathLike[str]) -> None:
    """Remove a directory and its content, if it exists.

    Raises:
        OSError: If something cannot be removed.
    """
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        # Another process is removing it too, or it never existed.
        if Path(directory).exists():
            shutil.rmtree(directory, ignore_errors=True)
