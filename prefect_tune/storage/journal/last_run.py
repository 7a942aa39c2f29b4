"""The text of one run in a journal, and which of two such texts knows more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prefect_tune.storage.journal.file import good_length
from prefect_tune.storage.journal.header import JournalHeader, parse_header


@dataclass(frozen=True, slots=True)
class RunText:
    """The last run in a journal, as far as its lines are good.

    Attributes:
        data: The lines, from the run's first header on.
        start: Where they begin in the journal.
        headers: Position (in `data`) and header of each opening; never empty unless `data` is.
    """

    data: bytes = field(default=b"", repr=False)
    start: int = 0
    headers: tuple[tuple[int, JournalHeader], ...] = ()

    @classmethod
    def of(cls, journal: bytes) -> RunText:
        """The last run in the text of a journal; an empty one if there is none.

        Raises:
            StorageError: If a header is of a newer format than this version can read.
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
        """Id of the run, "" if there is none."""
        return self.headers[0][1].origin if self.headers else ""

    def opened_after(self, position: int) -> float:
        """When the last opening behind a position was, in seconds since the epoch; -1 if none."""
        times = [header.time for begin, header in self.headers if begin >= position]
        return max(times, default=-1.0)


def common_length(first: bytes, second: bytes) -> int:
    """How many bytes of whole lines two texts begin with alike."""
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


def knows_more(local: RunText, remote: RunText) -> bool:
    """True if the local one is to be gone on with.

    Of two that go on differently, the one that was opened later counts: what the other one wrote
    after that was fenced off.
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
    # Headers are few and records many: only what looks like one is parsed.
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
