"""Reads and writes the journal of an experiment, an append-only file.

Each line holds eight hex digits of CRC-32 over the record, a space, the record, a newline. The
record is a JSON text (see `prefect_tune.coordinator.records`); the first one is a header. A line
that is cut off or damaged ends the readable part; all lines before it are good.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol

from prefect_tune.error import storage_errors

JOURNAL_FILE = "journal.jsonl"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Damage:
    """Position of the first damaged line of a journal.

    Attributes:
        line: Number of the damaged line, from 1.
        offset: Position of the line in bytes.
        problem: What is wrong with the line.
    """

    line: int
    offset: int
    problem: str


class Journal(Protocol):
    """Interface of a journal: append records and read them back."""

    def append(self, records: Sequence[bytes]) -> None:
        """Append records, which survive the death of this process once this returns."""
        ...

    def read(self, from_: int = 0) -> Iterator[bytes]:
        """Yield the good records from the record with index `from_` on."""
        ...

    def close(self) -> None:
        """Close the journal."""
        ...


class LocalJournal:
    """Journal in a local file.

    `append` passes all lines to the operating system in one write: they survive SIGKILL of this
    process, though not a power failure.

    Args:
        path: The journal file; created if missing.

    Raises:
        StorageError: If the file cannot be opened for appending.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: Damage | None = None
        with storage_errors(f"write the journal {self.path}"):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)

    def append(self, records: Sequence[bytes]) -> None:
        """Append records and pass them to the operating system.

        Raises:
            StorageError: If the disk is full or the file cannot be written.
        """
        if not records:
            return
        data = b"".join(map(encode_line, records))
        with storage_errors(f"write the journal {self.path}"):
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])

    def read(self, from_: int = 0) -> Iterator[bytes]:
        """Yield the good records from index `from_` on; set `damage` if a bad line ends them."""
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
        """Cut off the damaged end that the last `read` found, so that new records follow good ones.

        A warning says where the end is kept.

        Returns:
            The file beside the journal with a copy of the end; None if there was no damage.

        Raises:
            StorageError: If the end cannot be copied; the journal is then left as it is.
        """
        if self.damage is None:
            return None
        with storage_errors(f"repair the journal {self.path}"):
            kept = self._copy_damaged(self.damage.offset)
            os.ftruncate(self._fd, self.damage.offset)
        self._report("is damaged", "What comes before is used; the rest is kept", kept)
        return kept

    def damaged_lines(self) -> tuple[bytes, bool]:
        """Return the damaged lines that the last `read` found, and True if a good line follows."""
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

    def replace_damage(self, repaired: bytes) -> None:
        """Replace the damaged lines by repaired ones; keep the old end as `cut_damage` does.

        Args:
            repaired: The same lines as they were written.

        Raises:
            StorageError: If the file cannot be written; the journal is then left as it is.
        """
        if self.damage is None:
            return
        offset = self.damage.offset
        behind = offset + len(self.damaged_lines()[0])
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with storage_errors(f"repair the journal {self.path}"):
            kept = self._copy_damaged(offset)
            with open(temporary, "wb") as target, open(self.path, "rb") as source:
                target.write(source.read(offset) + repaired)
                source.seek(behind)
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            os.replace(temporary, self.path)
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
        mended = "One byte was wrong and is put right; what was there from this line on is kept"
        self._report("was damaged", mended, kept)

    def _report(self, what: str, outcome: str, kept: Path) -> None:
        """Log a warning about the damage, which there is no more."""
        if self.damage is not None:
            line, offset, problem = astuple(self.damage)
            text = "The journal %s %s at line %d (byte %d): %s. %s in %s."
            _logger.warning(text, self.path, what, line, offset, problem, outcome, kept.name)
        self.damage = None

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
        """Close the journal file."""
        os.close(self._fd)


def encode_line(record: bytes) -> bytes:
    """Return a record as a line of the journal."""
    return b"%08x %s\n" % (zlib.crc32(record), record)


def line_problem(line: bytes) -> str:
    """Return what is wrong with a line; "" if it is good."""
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
    """Return the length in bytes of the good lines, and what is wrong with the next line."""
    position = 0
    while position < len(data):
        end = data.find(b"\n", position) + 1 or len(data)
        problem = line_problem(data[position:end])
        if problem:
            return position, problem
        position = end
    return position, ""
