"""Segments: the immutable objects that make up a journal in storage.

A local journal is shipped as whole lines, in order, in objects named
``journal/<opening>-<number>-<writer>.jsonl``. Each process that opens the experiment makes a new
*opening*, whose first segment says which opening it continues and at which byte. Segments that an
earlier process (believed dead) still sends behind that byte are not part of the journal: this
fences it off. The writer's id in the name keeps two processes from ever writing the same object.

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

#: Folder of the segments, relative to the experiment directory.
SEGMENT_DIR = "journal"
SEGMENT_FORMAT = 1
_NAME = re.compile(r"(\d{4,})-(\d{8,})(?:\+(\d+))?-([0-9a-f]{8})\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """Name of a segment; names sort in the order of writing.

    Attributes:
        opening: Number of the opening, from 1.
        number: Number of the segment within the opening, from 0.
        count: How many original segments this one contains; more than 1 after a merge.
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
        """Path of the segment relative to the experiment directory."""
        return f"{SEGMENT_DIR}/{self}"

    @classmethod
    def parse(cls, text: str) -> SegmentName | None:
        """Parse the text of a name; None if the text is not the name of a segment."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(int(found[1]), int(found[2]), int(found[3] or 1), found[4])


@dataclass(frozen=True, slots=True)
class Origin:
    """Position in an earlier opening that a later opening continues from.

    Attributes:
        opening: Number of the earlier opening; 0 if a new run begins.
        writer: Id of the earlier opening's writer, "" for a new run.
        last: Name of the last valid segment, for diagnosis.
        start: How many bytes of the run's journal precede the later opening.
    """

    opening: int = 0
    writer: str = ""
    last: str = ""
    start: int = 0


#: Origin of an opening that begins a new run.
NEW_RUN = Origin()


@dataclass(frozen=True, slots=True)
class Continuation:
    """Position in the journal at which a new opening of an experiment begins.

    Attributes:
        opening: Number of the new opening.
        origin: The earlier opening that it continues.
        run_start: Offset in bytes at which the run begins in the local journal.
    """

    opening: int
    origin: Origin = NEW_RUN
    run_start: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a journal in storage.

    Attributes:
        name: Name of the segment.
        origin: Where the segment's opening continues from.
        start: Position of the first byte in the run's journal.
        data: Whole lines of the journal.
    """

    name: SegmentName
    origin: Origin
    start: int
    data: bytes

    def encode(self) -> bytes:
        """Return the content of the object: a line about the segment, then the journal's lines."""
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
        """Parse the content of a segment's object, as `encode` has written it.

        Raises:
            ValueError: If the content is damaged or belongs to another segment.
            StorageError: If the segment has a newer format.
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
