"""The objects of which a journal in storage consists.

A local journal is shipped in pieces: whole lines, in order, as immutable objects
``journal/<opening>-<number>-<writer>.jsonl``. Each process that opens the experiment makes a new
*opening*, whose first segment says which opening it goes on from and at which byte. What a process
from before still sends after that point (it was thought dead) is not part of the journal: that is
the fence. The writer's id in the name keeps two processes from ever writing the same object.

Many small segments are replaced by one with the same bytes: ``...-00000000+64-...`` stands for the
64 segments from that number on.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import asdict, dataclass

import orjson

from prefect_tune.error import StorageError
from prefect_tune.storage.journal.file import encode_line, line_problem

#: Where segments are, relative to the experiment directory.
SEGMENT_DIR = "journal"
SEGMENT_FORMAT = 1
_NAME = re.compile(r"(\d{4,})-(\d{8,})(?:\+(\d+))?-([0-9a-f]{8})\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """Name of a segment; sorts in the order of writing.

    Attributes:
        opening: Number of the opening, from 1.
        number: Number of the segment in it, from 0.
        count: How many segments it stands for.
        writer: Id of the writer, 8 hex digits.
    """

    opening: int
    number: int
    count: int
    writer: str

    def __str__(self) -> str:
        several = f"+{self.count}" if self.count > 1 else ""
        return f"{self.opening:04d}-{self.number:08d}{several}-{self.writer}.jsonl"

    @property
    def path(self) -> str:
        """Path relative to the experiment directory."""
        return f"{SEGMENT_DIR}/{self}"

    @classmethod
    def parse(cls, text: str) -> SegmentName | None:
        """The inverse of `str`, None for anything else."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(int(found[1]), int(found[2]), int(found[3] or 1), found[4])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an opening goes on.

    Attributes:
        opening: Number of the opening it goes on from; 0 if it begins a new run.
        writer: Its writer, "" for a new run.
        last: Name of the last segment that counts, for people.
        start: How many bytes of the run's journal come before this opening.
    """

    opening: int = 0
    writer: str = ""
    last: str = ""
    start: int = 0


#: An opening that begins a new run.
NEW_RUN = Origin()


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a journal.

    Attributes:
        name: Its name.
        origin: Where its opening goes on.
        start: Position of its first byte in the run's journal.
        data: Whole lines of the journal.
    """

    name: SegmentName
    origin: Origin
    start: int
    data: bytes

    def encode(self) -> bytes:
        """The content of the object: a line about it, then the lines of the journal."""
        about = {
            "segment": SEGMENT_FORMAT,
            "name": str(self.name),
            "origin": asdict(self.origin),
            "start": self.start,
            "size": len(self.data),
            "crc": zlib.crc32(self.data),
        }
        return encode_line(orjson.dumps(about)) + self.data

    @classmethod
    def decode(cls, name: SegmentName, content: bytes) -> Segment:
        """The inverse of `encode`.

        Raises:
            ValueError: If it is damaged or another segment; says what is wrong.
            StorageError: If it is of a newer format.
        """
        end = content.find(b"\n") + 1
        problem = line_problem(content[:end]) if end else "it is cut off"
        if problem:
            raise ValueError(problem)
        about = orjson.loads(content[9 : end - 1])
        if about["segment"] > SEGMENT_FORMAT:
            raise StorageError(
                f"the journal segment {name} has format {about['segment']}; this version reads "
                f"formats up to {SEGMENT_FORMAT}. Update prefect_tune."
            )
        data = content[end:]
        if about["name"] != str(name):
            raise ValueError(f"it is the segment {about['name']}")
        if len(data) != about["size"]:
            raise ValueError(f"it has {len(data)} bytes instead of {about['size']}")
        if zlib.crc32(data) != about["crc"]:
            raise ValueError("the checksum is wrong")
        return cls(name, Origin(**about["origin"]), about["start"], data)
