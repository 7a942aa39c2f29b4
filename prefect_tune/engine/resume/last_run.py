"""Finds the last run in a journal, and repairs a damaged journal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefect_tune.error import StorageError
from prefect_tune.storage.journal.file import Damage, LocalJournal
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_repair import repair_lines


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The position and the headers of the last run in a journal.

    Attributes:
        start: Index of the run's first record.
        first: The run's first header.
        latest: The run's last header, written when it was last resumed.
        count: Number of records of the run.
        damaged: True if damaged records were cut off and moved to another file.
    """

    start: int
    first: JournalHeader
    latest: JournalHeader
    count: int
    damaged: bool = False


def find_last_run(journal: LocalJournal) -> RunRecords | None:
    """Find the last run in a journal, after repairing the journal; None if there is no run.

    A line with one wrong byte is repaired. An incomplete rest behind the last good line is moved to
    another file. Both are reported in a warning.

    Raises:
        StorageError: If the journal is of a newer format, cannot be written, or has good records
            behind a line that cannot be repaired: without it, all later trials would run again.
    """
    found = _read(journal)
    while journal.damage is not None and _repair_line(journal, journal.damage):
        found = _read(journal)
    damaged = journal.cut_damage() is not None
    return found and replace(found, damaged=damaged)


def _read(journal: LocalJournal) -> RunRecords | None:
    start = count = 0
    first: JournalHeader | None = None
    latest: JournalHeader | None = None
    for record in journal.read():
        count += 1
        header = parse_header(record)
        if header is None:
            continue
        latest = header
        if first is None or header.is_first:
            start, first = count - 1, header
    if first is None or latest is None:
        return None
    return RunRecords(start, first, latest, count - start)


def _repair_line(journal: LocalJournal, damage: Damage) -> bool:
    """Repair the first damaged line if one byte is wrong; True if there may be more damage."""
    lines, has_more = journal.damaged_lines()
    mended = repair_lines(lines)
    if mended is not None:
        journal.replace_damage(mended)
    elif has_more:
        raise StorageError(
            f"the journal {journal.path} is damaged at line {damage.line} (byte {damage.offset}): "
            f"{damage.problem}, and good records follow, which mean nothing without that line. "
            f"Nothing was changed. Put back a copy of the file; or give another `name` to begin "
            f"anew; or cut the file at that byte (truncate -s {damage.offset} FILE) to go on from "
            f"there, which repeats all that came later."
        )
    return mended is not None
