"""The append-only record of an experiment.

One record a line: eight hex digits of CRC-32 over the record, a space, the record, a newline. The
record is a JSON text (see `prefect_tune.coordinator.records`); the first one is a header. A line
that is cut off or damaged ends what can be read; everything before it is good.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prefect_tune.error import StorageError

JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a journal stops being readable.

    Attributes:
        line: Number of the first bad line, from 1.
        offset: Its position in bytes.
        problem: What is wrong with it.
    """

    line: int
    offset: int
    problem: str


class Journal(Protocol):
    """The seam: append records, read them back."""

    def append(self, records: Sequence[bytes]) -> None:
        """Add records in order; they survive the death of this process once this returns."""
        ...

    def read(self, from_: int = 0) -> Iterator[bytes]:
        """The good records, from the record with this index on."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class LocalJournal:
    """A journal in a local file.

    `append` hands all lines to the operating system in one write: they survive SIGKILL of this
    process, though not a power failure.

    Args:
        path: The file; created if missing.

    Raises:
        StorageError: If the file cannot be opened for appending.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: Damage | None = None
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise StorageError(f"cannot write the journal {self.path}: {error}") from error

    def append(self, records: Sequence[bytes]) -> None:
        """Append records; they are with the operating system when this returns.

        Raises:
            StorageError: If the disk is full or the file cannot be written.
        """
        if not records:
            return
        data = b"".join(map(encode_line, records))
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            raise StorageError(f"cannot write the journal {self.path}: {error}") from error

    def read(self, from_: int = 0) -> Iterator[bytes]:
        """Read the records; what stopped the reading, if anything, is in `damage`."""
        self.damage = None
        offset = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file):
                problem = line_problem(line)
                if problem:
                    self.damage = Damage(number + 1, offset, problem)
                    return
                offset += len(line)
                if number >= from_:
                    yield line[9:-1]

    def cut_damage(self) -> Path | None:
        """Cut off what the last `read` could not read, so that new records follow good ones.

        Returns:
            The file in which it is kept, beside the journal; None if there was no damage.

        Raises:
            StorageError: If it cannot be kept; the journal is then left as it is.
        """
        if self.damage is None:
            return None
        try:
            kept = self._copy_damaged(self.damage.offset)
            os.ftruncate(self._fd, self.damage.offset)
        except OSError as error:
            raise StorageError(f"cannot repair the journal {self.path}: {error}") from error
        self.damage = None
        return kept

    def damaged_lines(self) -> tuple[bytes, bool]:
        """What the last `read` could not read, up to the next good line, and if there is one."""
        if self.damage is None:
            return b"", False
        lines: list[bytes] = []
        with open(self.path, "rb") as file:
            file.seek(self.damage.offset)
            for line in file:
                if not line_problem(line):
                    return b"".join(lines), True
                lines.append(line)
        return b"".join(lines), False

    def put_right(self, mended: bytes) -> Path | None:
        """Replace the damaged lines; what was there is kept from them on, as by `cut_damage`.

        Args:
            mended: The same lines as they were written.

        Raises:
            StorageError: If it cannot be done; the journal is then left as it is.
        """
        if self.damage is None:
            return None
        offset = self.damage.offset
        behind = offset + len(self.damaged_lines()[0])
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            kept = self._copy_damaged(offset)
            with open(temporary, "wb") as target, open(self.path, "rb") as source:
                target.write(source.read(offset) + mended)
                source.seek(behind)
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            os.replace(temporary, self.path)
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise StorageError(f"cannot repair the journal {self.path}: {error}") from error
        self.damage = None
        return kept

    def _copy_damaged(self, offset: int) -> Path:
        number = 1
        while True:
            kept = self.path.with_name(f"{self.path.name}.damaged-{number}")
            try:
                with open(kept, "xb") as target, open(self.path, "rb") as source:
                    source.seek(offset)
                    shutil.copyfileobj(source, target)
                    target.flush()
                    os.fsync(target.fileno())
            except FileExistsError:
                number += 1
            else:
                return kept

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def encode_line(record: bytes) -> bytes:
    """The line of a record."""
    return b"%08x %s\n" % (zlib.crc32(record), record)


def line_problem(line: bytes) -> str:
    """What is wrong with a line, "" if nothing is."""
    if not line.endswith(b"\n"):
        return "the line is cut off"
    if line[8:9] != b" ":
        return "not a journal line"
    try:
        expected = int(line[:8], 16)
    except ValueError:
        return "not a journal line"
    return "" if zlib.crc32(line[9:-1]) == expected else "the checksum is wrong"


def good_length(data: bytes) -> tuple[int, str]:
    """How many bytes of a journal's text are good lines, and what is wrong with the next one."""
    position = 0
    while position < len(data):
        end = data.find(b"\n", position) + 1 or len(data)
        problem = line_problem(data[position:end])
        if problem:
            return position, problem
        position = end
    return position, ""
