"""Interface of a file system's requests, without retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SMALL_PART = 16 * 2**20
_LARGE_PART = 48 * 2**20
_LARGE_FILE = 2**29
_MAX_PARTS = 10_000  # S3's limit
_MAX_PARALLEL = 8
_MAX_MEMORY = 256 * 2**20

#: A file up to this size is sent in one request.
SINGLE_REQUEST_SIZE = 2 * _SMALL_PART


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


def _nothing(timeout: float) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Upload of one local file; each function is called with a time limit in seconds.

    Attributes:
        parts: Parts to send, in any order and from any thread.
        finish: Completes the upload, so that the file becomes visible.
        abort: Deletes the parts that were sent.
    """

    parts: Sequence[Part]
    finish: Callable[[float], None] = _nothing
    abort: Callable[[float], None] = _nothing


class Backend(Protocol):
    """Requests to one file system; paths are relative to a base path.

    Every method tries once, within `timeout` seconds, and raises the file system's own errors. A
    missing file raises `FileNotFoundError`.
    """

    def read(self, path: str, timeout: float) -> bytes:
        """Read a whole file."""

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Read bytes `start` to `end` (exclusive) of a file, if it still has this version.

        Fewer bytes are a transfer that was cut off.
        """

    def write(self, path: str, data: bytes, timeout: float) -> None:
        """Write or replace a file, atomically."""

    def list_page(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """List files below a path, at any depth, with paths relative to the base path.

        Args:
            path: Directory, "" for the base path.
            page: "" for the first page, else the token that the last call returned.
            timeout: Time limit in seconds.

        Returns:
            The files of one page, and the token for the next page; "" after the last.
        """

    def delete(self, path: str, timeout: float) -> None:
        """Delete one file."""

    def remove_directories(self, path: str, timeout: float) -> None:
        """Remove a directory with all below it, if the file system has directories."""

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        """Begin to upload a local file."""


def part_size(size: int) -> int:
    """Return the size of a file's parts.

    Small parts are cheap to retry; large ones need fewer requests.

    Args:
        size: Bytes of the file.
    """
    usual = _LARGE_PART if size >= _LARGE_FILE else _SMALL_PART
    return max(usual, -(-size // _MAX_PARTS))


def part_ranges(size: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end (exclusive) of each part of a file."""
    step = part_size(size)
    for begin in range(0, size, step):
        yield begin, min(begin + step, size)


def max_parallel_parts(largest_part: int) -> int:
    """Return how many parts may be in memory at once.

    Args:
        largest_part: Bytes of the largest part.
    """
    return max(2, min(_MAX_PARALLEL, _MAX_MEMORY // max(1, largest_part)))
