"""Reads a journal from storage: selects the valid segments and joins them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from prefect_tune.filesystem.store import Store
from prefect_tune.storage.journal.file import good_length
from prefect_tune.storage.journal.segments import NEW_RUN, SEGMENT_DIR, Origin, Segment, SegmentName

log = logging.getLogger(__name__)

_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class RemoteJournal:
    """Journal of the newest run in storage, up to the first missing or damaged segment.

    Attributes:
        data: The lines of the run, the same as in a local journal.
        opening: Number of the newest opening; 0 if there is none.
        writer: Id of the writer of this opening.
        last: Name of the last segment that was used.
        problem: Why later segments were not used; "" if all were used.
        numbers: Numbers of all openings in storage, whether used or not.
    """

    data: bytes = field(default=b"", repr=False)
    opening: int = 0
    writer: str = ""
    last: str = ""
    problem: str = ""
    numbers: frozenset[int] = frozenset()

    @property
    def next_opening(self) -> int:
        """Number for the next opening."""
        return max(self.numbers, default=0) + 1

    def origin_at(self, start: int) -> Origin:
        """Return the origin of an opening that continues after the first `start` bytes."""
        return Origin(self.opening, self.writer, self.last, start) if self.opening else NEW_RUN


def read_remote(store: Store) -> RemoteJournal:
    """Read the journal of an experiment from storage.

    Args:
        store: The experiment directory in storage.

    Raises:
        StorageError: If the storage fails or a segment has a newer format.
    """
    names = _names(store.sizes(SEGMENT_DIR))
    while True:
        found = _read(store, names)
        if not found.problem:
            return found
        # A running writer may have merged segments after they were listed.
        before, names = names, _names(store.sizes(SEGMENT_DIR))
        if names == before:
            return found


def has_remote_journal(store: Store) -> bool:
    """Return True if storage has a journal of the experiment.

    Raises:
        StorageError: If the storage fails.
    """
    return bool(_names(store.sizes(SEGMENT_DIR)))


def _names(files: Iterable[str]) -> list[SegmentName]:
    parsed = (SegmentName.parse(name) for name in files)
    return sorted(name for name in parsed if name is not None)


def _read(store: Store, names: Sequence[SegmentName]) -> RemoteJournal:
    numbers = frozenset(name.opening for name in names)
    reader = _Reader(store, names)
    # An opening without a readable first segment does not count.
    for opening, writer in sorted({(n.opening, n.writer) for n in names}, reverse=True):
        content = reader.content(opening, writer)
        if content is not None:
            good, problem = good_length(content.data)
            problem = content.problem or problem
            return replace(content, data=content.data[:good], problem=problem, numbers=numbers)
    return RemoteJournal(numbers=numbers)


class _Reader:
    """Joins the segments of an opening and of the openings that it continues."""

    def __init__(self, store: Store, names: Iterable[SegmentName]) -> None:
        self._store = store
        self._openings: dict[tuple[int, str], dict[int, SegmentName]] = {}
        for name in sorted(names):  # of those that begin alike, the largest counts
            self._openings.setdefault((name.opening, name.writer), {})[name.number] = name

    def content(self, opening: int, writer: str) -> RemoteJournal | None:
        """Return the run's text up to an opening's end; None without a readable first segment."""
        segments, problem = self._read(opening, writer)
        if not segments:
            if problem:
                log.warning("Opening %d of the journal is not used: %s.", opening, problem)
            return None
        origin = segments[0].origin
        before = b""
        if origin.opening:
            earlier = self.content(origin.opening, origin.writer)
            if earlier is None:
                missing = f"opening {origin.opening} is missing"
                return RemoteJournal(b"", opening, writer, problem=missing)
            before = earlier.data[: origin.start]
            if len(before) < origin.start:
                lost = earlier.problem or f"opening {origin.opening} is not complete"
                return RemoteJournal(before, opening, writer, earlier.last, lost)
        pieces = [before]
        position = origin.start
        last = ""
        for segment in segments:
            if segment.start != position:
                problem = f"{segment.name} does not follow {last or 'the earlier opening'}"
                break
            pieces.append(segment.data)
            position += len(segment.data)
            last = str(segment.name)
        return RemoteJournal(b"".join(pieces), opening, writer, last, problem)

    def _read(self, opening: int, writer: str) -> tuple[list[Segment], str]:
        """Read the segments of an opening in order, up to the first missing or damaged one."""
        chosen = self._sequence(opening, writer)
        segments: list[Segment] = []
        with ThreadPoolExecutor(_PARALLEL, "journal") as pool:
            contents = pool.map(lambda name: self._store.read(name.path), chosen)
            for name, content in zip(chosen, contents, strict=True):
                if content is None:
                    return segments, f"{name} is missing"
                try:
                    segments.append(Segment.decode(name, content))
                except ValueError as error:
                    return segments, f"{name}: {error}"
        return segments, ""

    def _sequence(self, opening: int, writer: str) -> list[SegmentName]:
        numbers = self._openings.get((opening, writer), {})
        chosen: list[SegmentName] = []
        number = 0
        while number <= max(numbers, default=-1):
            # A segment that is not listed though later ones are may exist: not every store lists
            # objects that were written a moment ago.
            name = numbers.get(number) or SegmentName(opening, number, 1, writer)
            chosen.append(name)
            number += name.count
        return chosen
