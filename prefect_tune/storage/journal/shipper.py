"""Copies a growing local journal to storage, segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect_tune.error import storage_errors
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.journal.segments import Continuation, Segment, SegmentName

#: Bytes of one segment at most, unless a single line is longer.
SEGMENT_SIZE = 4 * 2**20
#: How many segments of the same size class are merged into one.
MERGED = 64
MERGED_SIZE = 64 * 2**20


class Shipment:
    """Ships a growing local journal to storage in segments.

    Args:
        store: The experiment directory in storage.
        path: The local journal.
        begun: Where this opening begins; storage has the bytes before that.
        writer: Id of this writer, 8 hex digits.
    """

    def __init__(self, store: Store, path: Path, begun: Continuation, writer: str) -> None:
        self._store = store
        self._path = path
        self._begun = begun
        self._writer = writer
        self._position = begun.origin.start
        self._segments: list[tuple[SegmentName, int, int]] = []  # name, start, end
        self._next = 0

    @property
    def position(self) -> int:
        """How many bytes of the journal file are in storage."""
        return self._begun.run_start + self._position

    @property
    def unshipped(self) -> int:
        """How many bytes of the journal file are not yet in storage."""
        with storage_errors(f"read {self._path}"):
            return self._path.stat().st_size - self.position

    def __call__(self, on_progress: Callable[[], None]) -> None:
        """Ship what the file has now, and merge segments.

        New lines wait for the next call: else a busy sweep would make a request, and an object, as
        fast as the storage answers.

        Args:
            on_progress: Called after each segment.

        Raises:
            StorageError: If the storage fails; the next call goes on from there.
        """
        end = self.position + self.unshipped
        while self.position < end and self.step():
            on_progress()
        while self.merge():
            pass  # merged segments may be merged again

    def step(self) -> bool:
        """Ship one segment, if the file has a new whole line.

        Returns:
            False if there was nothing to ship.

        Raises:
            StorageError: If the segment did not arrive; the next call tries the same again.
        """
        data = self._read(self._position, None)
        if not data:
            return False
        name = self._write(self._next, 1, self._position, data)
        self._segments.append((name, self._position, self._position + len(data)))
        self._position += len(data)
        self._next += 1
        return True

    def merge(self) -> bool:
        """Replace the newest segments by one with the same bytes, if `MERGED` have the same count.

        Returns:
            False if there was nothing to merge.

        Raises:
            StorageError: If the storage fails; nothing is lost then.
        """
        newest = self._segments[-MERGED:]
        first, start, _ = newest[0] if newest else (None, 0, 0)
        if first is None or len(newest) < MERGED or newest[-1][2] - start > MERGED_SIZE:
            return False
        if any(name.count != first.count for name, _, _ in newest):
            return False
        end = newest[-1][2]
        name = self._write(first.number, first.count * MERGED, start, self._read(start, end))
        self._segments[-MERGED:] = [(name, start, end)]
        # By now another object holds the bytes of these.
        self._store.delete(old.path for old, _, _ in newest)
        return True

    def _write(self, number: int, count: int, start: int, data: bytes) -> SegmentName:
        name = SegmentName(self._begun.opening, number, count, self._writer)
        self._store.write(name.path, Segment(name, self._begun.origin, start, data).encode())
        return name

    def _read(self, start: int, end: int | None) -> bytes:
        """Read the journal from `start` to `end`, or whole lines of a segment if `end` is None."""
        size = SEGMENT_SIZE if end is None else end - start
        with storage_errors(f"read {self._path}"), open(self._path, "rb") as file:
            file.seek(self._begun.run_start + start)
            data = file.read(size)
            if end is None and data and b"\n" not in data:
                data += file.readline()
        # A line that is being written, or that a full disk has cut off, has no newline yet.
        return data if end is not None else data[: data.rfind(b"\n") + 1]
