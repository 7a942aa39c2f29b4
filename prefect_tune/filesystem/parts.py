"""Divides large files into parts, and limits how many are transferred in parallel."""

from __future__ import annotations

from collections.abc import Iterator

_SMALL_PART = 16 * 2**20
_LARGE_PART = 48 * 2**20
_LARGE_FILE = 2**29
_MAX_PARTS = 10_000  # S3's limit
_MAX_PARALLEL = 8
_MAX_MEMORY = 256 * 2**20

#: A file up to this size is sent in one request.
SINGLE_REQUEST_SIZE = 2 * _SMALL_PART


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
