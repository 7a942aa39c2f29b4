"""Into which pieces large files are cut, and how many are on their way at once."""

from __future__ import annotations

from collections.abc import Iterator

_SMALL_PART = 16 * 2**20
_LARGE_PART = 48 * 2**20
_LARGE_FILE = 2**29
_MAX_PARTS = 10_000  # of S3
_MAX_PARALLEL = 8
_MAX_MEMORY = 256 * 2**20

#: A file up to this size is sent in one request.
WHOLE_SIZE = 2 * _SMALL_PART


def part_size(size: int) -> int:
    """Bytes of a part of a file: small ones are soon sent again, large ones cost fewer requests.

    Args:
        size: Bytes of the file.
    """
    usual = _LARGE_PART if size >= _LARGE_FILE else _SMALL_PART
    return max(usual, -(-size // _MAX_PARTS))


def ranges(size: int) -> Iterator[tuple[int, int]]:
    """Begin and end (exclusive) of each part of a file."""
    step = part_size(size)
    for begin in range(0, size, step):
        yield begin, min(begin + step, size)


def parallel(largest_part: int) -> int:
    """How many parts may be in memory at once.

    Args:
        largest_part: Bytes of the largest of them.
    """
    return max(2, min(_MAX_PARALLEL, _MAX_MEMORY // max(1, largest_part)))
