"""Mends journal lines in which a single byte is not what was written.

The checksum of a line (CRC-32) tells which byte it must have been: a wrong byte changes it in a way
that depends on its place and on the change alone, so both can be found without trying.
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


def mend(damaged: bytes) -> bytes | None:
    """Put right what one wrong byte has damaged.

    Args:
        damaged: All damaged lines that follow each other, which end with a newline.

    Returns:
        The lines as they were written; None if more than one byte is wrong, or it cannot be told
        which one.
    """
    found = {text for text in _candidates(damaged) if _is_good(text)}
    return found.pop() if len(found) == 1 else None


def read_mended(path: Path, on_damage: Callable[[str], None]) -> Iterator[bytes]:
    """The good records of a journal, which stays as it is; lines with one wrong byte are mended.

    Args:
        path: The file.
        on_damage: Told where and why reading ends before the end of the file.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            problem = line_problem(line)
            if not problem:
                yield line[_HEAD:-1]
                continue
            mended = mend(line)
            if mended is None:
                on_damage(f"line {number}, where {problem}")
                return
            for good in mended.split(b"\n")[:-1]:
                yield good[_HEAD:]


def _is_good(text: bytes) -> bool:
    *records, end = (line[_HEAD:] for line in text.split(b"\n"))
    if end or b"".join(map(encode_line, records)) != text:
        return False
    try:
        # A checksum of 32 bits may fit by chance.
        return all(json.loads(record) for record in records)
    except ValueError:
        return False


def _candidates(damaged: bytes) -> Iterator[bytes]:
    newlines = damaged.count(b"\n")
    if newlines == 1:
        record = damaged[_HEAD:-1]
        whole = encode_line(record)
        if sum(a != b for a, b in zip(whole[:_HEAD], damaged[:_HEAD], strict=False)) == 1:
            yield whole  # the record itself is as it was
            return
        yield from _with_record_mended(damaged)
        yield from _split(damaged)
    elif newlines == 2:  # in the middle of a line there was another byte than a newline
        place = damaged.index(b"\n")
        for byte in range(256):
            yield damaged[:place] + bytes((byte,)) + damaged[place + 1 :]


def _split(damaged: bytes) -> Iterator[bytes]:
    """A newline between two lines is gone: it comes 9 bytes before the space of the second one."""
    place = damaged.find(b" ", _HEAD)
    while place >= 0:
        if _HEX.issuperset(damaged[place - 8 : place]):
            text = damaged[: place - 9] + b"\n" + damaged[place - 8 :]
            if not line_problem(text[: place - 8]):
                yield text
        place = damaged.find(b" ", place + 1)


def _with_record_mended(line: bytes) -> Iterator[bytes]:
    record = bytearray(line[_HEAD:-1])
    try:
        difference = int(line[: _HEAD - 1], 16) ^ zlib.crc32(record)
    except ValueError:
        return
    # From the last byte on: what a change there does to the checksum, each byte behind it shifts.
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
#: Which change of the last byte changes the checksum so.
_CHANGES = {value: byte for byte, value in enumerate(_TABLE) if byte}
#: The entry of the table by its highest byte, which no two share.
_BY_TOP = {value >> 24: byte for byte, value in enumerate(_TABLE)}
