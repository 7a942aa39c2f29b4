"""Finds the last run in a journal's text, and decides which of two copies of a run is newer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prefect_tune.storage.journal.file import good_length
from prefect_tune.storage.journal.header import JournalHeader, parse_header


@dataclass(frozen=True, slots=True)
class LastRunText:
    """Text of the last run in a journal, up to the first damaged line.

    Attributes:
        data: The lines of the run, from its first header on.
        start: Offset of the run in the journal.
        headers: Position (in `data`) and header of each opening; empty only if `data` is.
    """

    data: bytes = field(default=b"", repr=False)
    start: int = 0
    headers: tuple[tuple[int, JournalHeader], ...] = ()

    @classmethod
    def of(cls, journal: bytes) -> LastRunText:
        """Find the last run in a journal's text; return an empty `LastRunText` if there is none.

        Raises:
            StorageError: If a header has a newer format than this version can read.
        """
        length, _ = good_length(journal)
        start = -1
        headers: list[tuple[int, JournalHeader]] = []
        for position, header in _headers(journal[:length]):
            if start < 0 or header.is_first:
                start, headers = position, []
            headers.append((position - start, header))
        return cls(journal[start:length], start, tuple(headers)) if headers else cls(start=length)

    @property
    def origin(self) -> str:
        """Id of the run; "" if the journal has no run."""
        return self.headers[0][1].origin if self.headers else ""

    def opened_after(self, position: int) -> float:
        """Return the time of the newest opening behind a position; -1 if there is none."""
        times = [header.time for begin, header in self.headers if begin >= position]
        return max(times, default=-1.0)


def common_length(first: bytes, second: bytes) -> int:
    """Return the length in bytes of the whole lines that two texts have in common at the start."""
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        low = high
    while low < high - 1:
        middle = (low + high) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle
    return first.rfind(b"\n", 0, low) + 1


def is_local_newer(local: LastRunText, remote: LastRunText) -> bool:
    """Return True if the local copy of a journal is to be continued, not the one in storage.

    Of two copies that differ, the one that was opened later counts: records that the other one got
    after that time do not belong to the journal.
    """
    if not remote.data or not local.data:
        return bool(local.data)
    if local.origin != remote.origin:
        return local.opened_after(0) > remote.opened_after(0)
    common = common_length(local.data, remote.data)
    if common == len(remote.data):
        return True
    if common == len(local.data):
        return False
    return local.opened_after(common) > remote.opened_after(common)


def _headers(data: bytes) -> Iterator[tuple[int, JournalHeader]]:
    # Headers are few and records many, so only lines that look like a header are parsed.
    position = 0
    while True:
        found = data.find(b' {"journal":', position)
        if found < 0:
            return
        begin = data.rfind(b"\n", 0, found) + 1
        end = data.find(b"\n", found) + 1
        if found - begin == 8:  # behind the checksum
            header = parse_header(data[begin + 9 : end - 1])
            if header is not None:
                yield begin, header
        position = end
