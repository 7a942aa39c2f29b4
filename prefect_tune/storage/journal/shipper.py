"""Copies a local journal to storage, piece by piece, while it is written."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.journal.background_worker import BackgroundWorker
from prefect_tune.storage.journal.segments import Origin, Segment, SegmentName

log = logging.getLogger(__name__)

#: Bytes of one segment at most, unless one line is longer.
SEGMENT_SIZE = 4 * 2**20
#: So many segments of one kind become one.
MERGED = 64
MERGED_SIZE = 64 * 2**20
_RETRY_S = 5.0
#: Between two looks while somebody waits.
_HURRY_S = 0.5


class Shipment:
    """What has been shipped of a journal file by this opening; one step at a time.

    Args:
        store: The experiment directory in storage.
        path: The local journal.
        run_start: Where the run begins in the file.
        origin: Where this opening goes on; what comes before `origin.start` is in storage already.
        opening: Number of this opening.
        writer: Id of this writer, 8 hex digits.
    """

    def __init__(
        self, store: Store, path: Path, run_start: int, origin: Origin, opening: int, writer: str
    ) -> None:
        self._store = store
        self._path = path
        self._run_start = run_start
        self._origin = origin
        self._opening = opening
        self._writer = writer
        self._position = origin.start
        self._segments: list[tuple[SegmentName, int, int]] = []  # name, start, end
        self._next = 0

    @property
    def position(self) -> int:
        """How many bytes of the journal file are in storage."""
        return self._run_start + self._position

    @property
    def waiting(self) -> int:
        """How many bytes of the journal file are not in storage."""
        try:
            return self._path.stat().st_size - self.position
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}.") from error

    def step(self) -> bool:
        """Ship one segment, if there is a whole line to ship.

        Returns:
            False if there was nothing.

        Raises:
            StorageError: If it did not arrive; the next step tries the same again.
        """
        data = self._read(self._position, None)
        if not data:
            return False
        name = SegmentName(self._opening, self._next, 1, self._writer)
        segment = Segment(name, self._origin, self._position, data)
        self._store.write(name.path, segment.encode())
        self._segments.append((name, self._position, self._position + len(data)))
        self._position += len(data)
        self._next += 1
        return True

    def merge(self) -> bool:
        """Replace the newest segments by one with the same bytes, if there are enough of a kind.

        Returns:
            False if there are not.

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
        name = SegmentName(self._opening, first.number, first.count * MERGED, self._writer)
        data = self._read(start, end)
        self._store.write(name.path, Segment(name, self._origin, start, data).encode())
        self._segments[-MERGED:] = [(name, start, end)]
        # Only what another object holds by now.
        self._store.delete(old.path for old, _, _ in newest)
        return True

    def _read(self, start: int, end: int | None) -> bytes:
        """Whole lines of the run's journal."""
        size = SEGMENT_SIZE if end is None else end - start
        try:
            with open(self._path, "rb") as file:
                file.seek(self._run_start + start)
                data = file.read(size)
                if end is None and data and b"\n" not in data:
                    data += file.readline()
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}.") from error
        # A line that is being written, or that a full disk has cut, has no end yet.
        return data if end is not None else data[: data.rfind(b"\n") + 1]


class Shipper(BackgroundWorker):
    """A thread that ships about once a second; while the storage is away, the file is the queue.

    It may be stopped at any moment: what is not shipped is in the file.

    Args:
        shipment: What to ship.
        url: Where, for messages.
        interval_s: Seconds between looks at the file.
        cancelled: Set from outside: nothing is shipped any more.
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
        self._wanted = False  # asked for since the last look
        self._waiting = 0

    def wait_shipped(self, position: int, idle_s: float, total_s: float | None = None) -> bool:
        """Wait until so many bytes of the journal file are in storage.

        Args:
            position: Bytes of the file.
            idle_s: Seconds to wait at most while none of it gets there.
            total_s: Seconds to wait at most; None is as long as it goes on.

        Returns:
            False if they were not in time.
        """
        with self._changed:
            self._wanted = True
            self._waiting += 1
            self._changed.notify_all()
            try:
                return self._wait_until(
                    lambda: self._shipment.position >= position, idle_s, total_s
                )
            finally:
                self._waiting -= 1

    def _work(self) -> None:
        while not self._is_over:
            before = self._shipment.position
            pause = self._interval_s
            try:
                while self._shipment.step() and not self._is_over:
                    self._tell_works()
                    self._advance()
                    # What came meanwhile waits its turn: a busy sweep would else make a request,
                    # and an object, as fast as the storage answers.
                    if self._shipment.waiting < SEGMENT_SIZE:
                        break
                while not self._outage.lasts and self._shipment.merge():
                    pass  # many of one size become one of the next
            except StorageError as error:
                self._tell_fails(error)
                pause = _RETRY_S
            with self._changed:
                if self._waiting:
                    # For what came while the segment was sent.
                    self._wanted |= self._shipment.position > before
                    pause = min(pause, _HURRY_S)
                if not self._wanted and not self._stopping:
                    self._changed.wait(pause)
                self._wanted = False

    def _tell_fails(self, error: StorageError) -> None:
        if not self._outage.begin():
            return
        away = isinstance(error, StorageUnavailable)
        log.warning(
            "The journal cannot be written to %s (%s) The sweep goes on; results are safe on this "
            "machine's disk and follow when the storage %s.",
            self._url,
            error,
            "is back" if away else "can be written",
        )

    def _tell_works(self) -> None:
        away = self._outage.end()
        if away is not None:
            log.warning("The journal in %s has caught up after %.0f s.", self._url, away)
