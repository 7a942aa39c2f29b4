"""Repairs journal lines in which a single byte is wrong.

The checksum of a line (CRC-32) tells which byte that is: its difference depends only
on the byte's place and change, so both can be computed without trying every change.
"""

from __future__ import annotations

import json
import string
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from prefect_tune.storage.journal.file import encode_line, line_problem

_POLYNOMIAL = 0xEDB88320
_HEAD = 9  # the checksum and a space
_HEX = frozenset(string.hexdigits.encode())


def repair_lines(damaged: bytes) -> bytes | None:
    """Repair consecutive damaged lines in which one byte is wrong.

    Args:
        damaged: The damaged lines, up to the next good one; they end with a newline.

    Returns:
        The lines as they were written; None if more than one byte is wrong, or if several
        repairs are possible.
    """
    found = {text for text in _candidates(damaged) if _is_good(text)}
    return found.pop() if len(found) == 1 else None


def read_repaired(path: Path, on_damage: Callable[[str], None]) -> Iterator[bytes]:
    """Yield a journal file's records, with single wrong bytes repaired; the file stays as it is.

    Args:
        path: The journal file.
        on_damage: Called with where and why reading ends before the end of the file.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            problem = line_problem(line)
            if not problem:
                yield line[_HEAD:-1]
                continue
            repaired = repair_lines(line)
            if repaired is None:
                on_damage(f"line {number}, where {problem}")
                return
            for good in repaired.split(b"\n")[:-1]:
                yield good[_HEAD:]


def _is_good(text: bytes) -> bool:
    *records, end = (line[_HEAD:] for line in text.split(b"\n"))
    if end or b"".join(map(encode_line, records)) != text:
        return False
    try:
        # A checksum of 32 bits may match by chance, so the record must also be JSON.
        return all(json.loads(record) for record in records)
    except ValueError:
        return False


def _candidates(damaged: bytes) -> Iterator[bytes]:
    newlines = damaged.count(b"\n")
    if newlines == 1:
        record = damaged[_HEAD:-1]
        whole = encode_line(record)
        if sum(a != b for a, b in zip(whole[:_HEAD], damaged[:_HEAD], strict=False)) == 1:
            yield whole  # only the checksum is wrong
            return
        yield from _with_record_repaired(damaged)
        yield from _split(damaged)
    elif newlines == 2:  # one byte of a single line became a newline
        place = damaged.index(b"\n")
        for byte in range(256):
            yield damaged[:place] + bytes((byte,)) + damaged[place + 1 :]


def _split(damaged: bytes) -> Iterator[bytes]:
    """Yield texts in which a newline is restored 9 bytes before a space, where a line may begin."""
    place = damaged.find(b" ", _HEAD)
    while place >= 0:
        if _HEX.issuperset(damaged[place - 8 : place]):
            text = damaged[: place - 9] + b"\n" + damaged[place - 8 :]
            if not line_problem(text[: place - 8]):
                yield text
        place = damaged.find(b" ", place + 1)


def _with_record_repaired(line: bytes) -> Iterator[bytes]:
    record = bytearray(line[_HEAD:-1])
    try:
        difference = int(line[: _HEAD - 1], 16) ^ zlib.crc32(record)
    except ValueError:
        return
    # From the last byte backwards: each byte behind a change shifts the checksum's difference.
    for place in range(len(record) - 1, -1, -1):
        change = _CHANGES.get(difference)
        if change is not None:
            record[place] ^= change
            yield line[:_HEAD] + bytes(record) + b"\n"
            record[place] ^= change
        top = _BY_TOP[difference >> 24]
        difference = ((difference ^ _TABLE[top]) << 8 | top) & 0xFFFFFFFF


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_shifted(byte) for byte in range(256)]
#: Change of the last byte by the difference that it makes in the checksum.
_CHANGES = {value: byte for byte, value in enumerate(_TABLE) if byte}
#: Index into the table by an entry's highest byte, which is unique.
_BY_TOP = {value >> 24: byte for byte, value in enumerate(_TABLE)}
