"""Copies of files and directories that cost as little as the file system allows."""

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

#: Asks a copy-on-write file system to share the blocks of two files (linux/fs.h, FICLONE).
_FICLONE = 0x40049409
_CHUNK = 1 << 30
#: What a file system says that cannot do it.
_NOT_HERE = frozenset(
    getattr(errno, name)
    for name in "EXDEV EINVAL ENOSYS EOPNOTSUPP ENOTTY EPERM EBADF ETXTBSY".split()
)


def clone_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy the content and the permissions of a file: shared blocks, else within the kernel.

    Never a hard link: either file may be written to later without the other one changing.

    Raises:
        OSError: If it cannot be read or written.
    """
    with open(source, "rb") as reader, open(target, "wb") as writer:
        if not _share_blocks(reader.fileno(), writer.fileno()):
            _copy_within_kernel(reader.fileno(), writer.fileno())
            # What the kernel could not copy; also what was appended meanwhile.
            reader.seek(writer.seek(0, os.SEEK_END))
            shutil.copyfileobj(reader, writer, 1 << 20)
    shutil.copymode(source, target)


def _share_blocks(reader: int, writer: int) -> bool:
    if ioctl is None:
        return False
    try:
        ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno in _NOT_HERE:
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
        if error.errno not in _NOT_HERE:
            raise


def clone_tree(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    skip: Callable[[str], bool] | None = None,
) -> None:
    """Copy what is in a directory into another one, which is created if need be.

    Links become copies of what they lead to; a link to nowhere stays one. What is neither file nor
    directory (sockets, pipes) is left out.

    Args:
        source: The directory to copy.
        target: Where to; files of the same names are replaced.
        skip: Says of a name at the top whether to leave it out; by default nothing is.

    Raises:
        OSError: If something cannot be read or written.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    # A copy into a directory of its own would otherwise never end.
    _clone(
        Path(source), Path(target), skip or _nothing, frozenset({_identity(Path(target).stat())})
    )


def _clone(
    source: Path, target: Path, skip: Callable[[str], bool], passed: frozenset[tuple[int, int]]
) -> None:
    target.mkdir(exist_ok=True)
    passed |= {_identity(source.stat())}
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
            elif stat.S_ISDIR(status.st_mode) and _identity(status) not in passed:
                _clone(Path(entry.path), to, _nothing, passed)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _nothing(_name: str) -> bool:
    return False


def remove_tree(directory: str | os.PathLike[str]) -> None:
    """Remove a directory and what is in it; no error if there is none.

    Raises:
        OSError: If something cannot be removed.
    """
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        # Somebody else removes it too, or it was never there.
        if Path(directory).exists():
            shutil.rmtree(directory, ignore_errors=True)
