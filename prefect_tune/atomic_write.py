"""Writes files atomically: a reader finds the old file or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], *parts: bytes, mode: int = 0o666) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    A missing directory is created. Only one process may write a file at a time: the temporary file
    always has the same name, so that killed processes do not leave many of them.

    Args:
        path: The file.
        *parts: The content, in order.
        mode: The file's permissions, before the umask.

    Raises:
        OSError: If the file cannot be written; the error names it.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode != 0o666:
            temporary.unlink(missing_ok=True)  # an existing file would keep its mode
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(temporary, flags, mode), "wb") as file:
            file.writelines(parts)
        os.replace(temporary, target)
    except OSError as error:
        # An error of `write`, such as a full disk, does not name the file.
        if error.filename is None:
            error.filename = os.fspath(path)
        raise
