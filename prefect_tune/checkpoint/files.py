"""Copies files and directories as cheaply as the file system allows."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform == "linux":
    from fcntl import ioctl
else:
    ioctl = None

#: Request that lets a copy-on-write file system share two files' blocks (FICLONE in linux/fs.h).
_FICLONE = 0x40049409
_CHUNK = 1 << 30
#: Errors of file systems that do not support the operation.
_UNSUPPORTED = frozenset(
    getattr(errno, name)
    for name in "EXDEV EINVAL ENOSYS EOPNOTSUPP ENOTTY EPERM EBADF ETXTBSY".split()
)


def clone_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy content and permissions of a file, by sharing blocks or within the kernel if possible.

    The copy is never a hard link: writing to one file later does not change the other.

    Raises:
        OSError: If a file cannot be read or written.
    """
    with open(source, "rb") as reader, open(target, "wb") as writer:
        if not _share_blocks(reader.fileno(), writer.fileno()):
            _copy_within_kernel(reader.fileno(), writer.fileno())
            # The bytes that the kernel did not copy, or that were appended meanwhile.
            reader.seek(writer.seek(0, os.SEEK_END))
            shutil.copyfileobj(reader, writer, 1 << 20)
    shutil.copymode(source, target)


def _share_blocks(reader: int, writer: int) -> bool:
    if ioctl is None:
        return False
    try:
        ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _copy_within_kernel(reader: int, writer: int) -> None:
    if not hasattr(os, "copy_file_range"):
        return
    position = 0
    try:
        while copied := os.copy_file_range(reader, writer, _CHUNK, position, position):
            position += copied
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def clone_tree(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    skip: Callable[[str], bool] | None = None,
) -> None:
    """Copy the content of a directory into another one, which is created if missing.

    Links are replaced by copies of their targets; broken links stay links. Sockets and pipes are
    skipped.

    Args:
        source: The directory to copy.
        target: The directory to copy into; files of the same names are replaced.
        skip: Returns True for names at the top that are not to be copied; by default all are.

    Raises:
        OSError: If something cannot be read or written.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    # Without the target among the visited directories, a copy into a subdirectory would never end.
    _clone(
        Path(source), Path(target), skip or _skip_none, frozenset({_identity(Path(target).stat())})
    )


def _clone(
    source: Path, target: Path, skip: Callable[[str], bool], visited: frozenset[tuple[int, int]]
) -> None:
    target.mkdir(exist_ok=True)
    visited |= {_identity(source.stat())}
    with os.scandir(source) as entries:
        for entry in entries:
            if skip(entry.name):
                continue
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
                _clone(Path(entry.path), to, _skip_none, visited)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _skip_none(_name: str) -> bool:
    return False


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
