"""Interface of a remote file system's requests, without retries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """Size and version of a file in a listing.

    Attributes:
        size: Its bytes.
        version: Changes with the file's content (an ETag, say); "" if the store has none.
    """

    size: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Part of an upload: one request, which may be repeated.

    Attributes:
        size: Bytes of the part.
        send: Sends the part; its argument is the time limit in seconds.
    """

    size: int
    send: Callable[[float], None]


class Upload(Protocol):
    """Upload of one local file, which becomes visible in the store when `finish` is called."""

    @property
    def parts(self) -> Sequence[Part]:
        """Parts to send, in any order and from any thread."""
        ...

    def finish(self, timeout: float) -> None:
        """Complete the upload, so that the file becomes visible."""
        ...

    def abort(self, timeout: float) -> None:
        """Delete the parts that were sent."""
        ...


class Backend(Protocol):
    """Requests to one file system; paths are relative to a base path.

    Every method tries once, within `timeout` seconds, and raises the file system's own errors. A
    missing file raises `FileNotFoundError`.
    """

    def read(self, path: str, timeout: float) -> bytes:
        """Read a whole file."""
        ...

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Read bytes `start` to `end` (exclusive) of a file, if it still has this version."""
        ...

    def write(self, path: str, data: bytes, timeout: float) -> None:
        """Write or replace a file, atomically."""
        ...

    def stat(self, path: str, timeout: float) -> Entry:
        """Return size and version of one file."""
        ...

    def list(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """List files below a path, at any depth, with paths relative to the base path.

        Args:
            path: Directory, "" for the base path.
            page: "" for the first page, else the token that the last call returned.
            timeout: Time limit in seconds.

        Returns:
            The files of one page, and the token for the next page; "" after the last.
        """
        ...

    def delete(self, path: str, timeout: float) -> None:
        """Delete one file."""
        ...

    def remove_directories(self, path: str, timeout: float) -> None:
        """Remove the empty directories below a path, if the file system has directories."""
        ...

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        """Begin to upload a local file."""
        ...
