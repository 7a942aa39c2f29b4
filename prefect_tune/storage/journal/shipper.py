"""Copies a growing local journal to storage, segment by segment."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from prefect_tune.error import StorageError, StorageUnavailable, storage_errors
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.journal.background_worker import BackgroundWorker
from prefect_tune.storage.journal.segments import Continuation, Segment, SegmentName

log = logging.getLogger(__name__)

#: Bytes of one segment at most, unless a single line is longer.
SEGMENT_SIZE = 4 * 2**20
#: How many segments of the same size class are merged into one.
MERGED = 64
MERGED_SIZE = 64 * 2**20
_RETRY_S = 5.0
#: Seconds between checks of the file while a caller waits.
_POLL_S = 0.5


class Shipment:
    """Ships a local journal to storage in segments, one call at a time.

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


class Shipper(BackgroundWorker):
    """Thread that ships a journal about once a second, and catches up after an outage of storage.

    It may be stopped at any moment: the file keeps the lines that are not shipped.

    Args:
        shipment: Ships the segments.
        url: The experiment in storage, for messages.
        interval_s: Seconds between checks of the file.
        cancelled: Event that ends the thread from outside; nothing is shipped after it is set.
    """

    def __init__(
        self,
        shipment: Shipment,
        url: str,
        interval_s: float = 1.0,
        cancelled: threading.Event | None = None,
    ) -> None:
        super().__init__("journal-shipper", f"the journal is in {url}", cancelled)
        self._shipment = shipment
        self._url = url
        self._interval_s = interval_s
        self._requested = False  # asked for since the last look
        self._waiters = 0

    def wait_shipped(self, position: int, idle_s: float, total_s: float | None = None) -> bool:
        """Wait until storage has the journal file up to a position.

        Args:
            position: Offset in the file in bytes.
            idle_s: Seconds to wait at most while nothing is shipped.
            total_s: Seconds to wait at most; None waits as long as there is progress.

        Returns:
            False if the position was not reached in time.
        """
        with self._changed:
            self._requested = True
            self._waiters += 1
            self._changed.notify_all()
            try:
                return self._wait_until(
                    lambda: self._shipment.position >= position, idle_s, total_s
                )
            finally:
                self._waiters -= 1

    def _work(self) -> None:
        while not self._must_end:
            before = self._shipment.position
            pause = self._interval_s
            try:
                while self._shipment.step() and not self._must_end:
                    self._log_recovery()
                    self._note_progress()
                    # New lines wait for the next interval: else a busy sweep would make a request,
                    # and an object, as fast as the storage answers.
                    if self._shipment.unshipped < SEGMENT_SIZE:
                        break
                while not self._outage.lasts and self._shipment.merge():
                    pass  # merged segments may be merged again
            except StorageError as error:
                self._log_outage(error)
                pause = _RETRY_S
            with self._changed:
                if self._waiters:
                    # To ship at once the lines that came while a segment was sent.
                    self._requested |= self._shipment.position > before
                    pause = min(pause, _POLL_S)
                if not self._requested and not self._stopping:
                    self._changed.wait(pause)
                self._requested = False

    def _log_outage(self, error: StorageError) -> None:
        if not self._outage.begin():
            return
        away = isinstance(error, StorageUnavailable)
        log.warning(
            "The journal cannot be written to %s (%s) The sweep continues; results are on this "
            "machine's disk and are copied when the storage %s.",
            self._url,
            error,
            "is back" if away else "can be written",
        )

    def _log_recovery(self) -> None:
        away = self._outage.end()
        if away is not None:
            log.warning("The journal in %s has caught up after %.0f s.", self._url, away)
