"""Writing files that are replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], *parts: bytes, mode: int = 0o666) -> None:
    """Write a file so that a reader sees the one before or this one, never a part.

    Its directory is made if it is missing. A file has one writer at a time: what is written has a
    fixed name until it is whole, so that nothing is left over if a process is killed again and
    again.

    Args:
        path: The file.
        *parts: What is in it, one behind the other.
        mode: Who may read and write it, before the umask.

    Raises:
        OSError: If it cannot be written; names the file.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode != 0o666:
            temporary.unlink(missing_ok=True)  # what is there keeps its mode
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(temporary, flags, mode), "wb") as file:
            file.writelines(parts)
        os.replace(temporary, target)
    except OSError as error:
        # That of a write, as on a full disk, does not name its file.
        if error.filename is None:
            error.filename = os.fspath(path)
        raise
