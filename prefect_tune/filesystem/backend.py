"""The few requests that a remote store is made of; each is one try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a listing.

    Attributes:
        size: Its bytes.
        version: Changes with its contents; "" if the store has nothing of the kind.
    """

    size: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an upload: one request, which may be made again.

    Attributes:
        size: Its bytes.
        send: Makes one try; gets the seconds it may take.
    """

    size: int
    send: Callable[[float], None]


class Upload(Protocol):
    """A local file on its way; nobody sees anything of it before `finish`."""

    @property
    def parts(self) -> Sequence[Part]:
        """What has to be sent, in any order, from any threads."""
        ...

    def finish(self, timeout: float) -> None:
        """Make the file appear."""
        ...

    def abort(self, timeout: float) -> None:
        """Leave nothing behind."""
        ...


class Backend(Protocol):
    """Requests on one file system, below one base path; paths are relative to it.

    Every method makes one try within `timeout` seconds and raises whatever the file system does. A
    missing file is a `FileNotFoundError`.
    """

    def read(self, path: str, timeout: float) -> bytes:
        """All of a file."""
        ...

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Bytes `start` to `end` (exclusive) of a file, if it still has this version."""
        ...

    def write(self, path: str, data: bytes, timeout: float) -> None:
        """Make a file appear, or replace it, whole."""
        ...

    def stat(self, path: str, timeout: float) -> Entry:
        """What a listing says of one file."""
        ...

    def list(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """Files below a path, at any depth, with paths relative to the base.

        Args:
            path: Directory, "" for all.
            page: "" for the first page, else what the call before returned.
            timeout: Seconds.

        Returns:
            One page, and what to ask the next one with; "" after the last.
        """
        ...

    def delete(self, path: str, timeout: float) -> None:
        """Delete one file."""
        ...

    def remove_directories(self, path: str, timeout: float) -> None:
        """Remove directories that have become empty, where there is such a thing."""
        ...

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        """Begin to send a local file."""
        ...
