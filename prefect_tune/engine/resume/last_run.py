"""The last run in a journal: where it begins, and what can be told at a glance."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from prefect_tune.error import StorageError
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_mending import mend

_logger = logging.getLogger(__name__)
_SUGGESTED = (b'{"event":"TrialSuggested"', b'{"event": "TrialSuggested"')


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The last run in a journal.

    Attributes:
        start: Index of its first record.
        first: Header of its first opening.
        latest: Header of its last one.
        count: How many records it has.
        suggested: How many trials were suggested in it.
        damaged: True if part of it was damaged and has been put aside.
    """

    start: int
    first: JournalHeader
    latest: JournalHeader
    count: int
    suggested: int
    damaged: bool = False


def find_last_run(journal: LocalJournal) -> RunRecords | None:
    """The last run in a journal, None if there is none.

    A line with one wrong byte is mended. What a crash has left behind the last good line is put
    aside. Both are said in a warning.

    Raises:
        StorageError: If the journal is of a newer format, cannot be repaired, or has good records
            behind a line that cannot be mended: without it, they would be repeated.
    """
    found = _read(journal)
    while _mend(journal):
        found = _read(journal)
    damaged = _put_damage_aside(journal)
    return found and replace(found, damaged=damaged)


def _read(journal: LocalJournal) -> RunRecords | None:
    start, count, suggested = 0, 0, 0
    first: JournalHeader | None = None
    latest: JournalHeader | None = None
    for record in journal.read():
        count += 1
        if record.startswith(_SUGGESTED):
            suggested += 1
            continue
        header = parse_header(record)
        if header is None:
            continue
        latest = header
        if first is None or header.is_first:
            start, first, suggested = count - 1, header, 0
    if first is None or latest is None:
        return None
    return RunRecords(start, first, latest, count - start, suggested)


def _mend(journal: LocalJournal) -> bool:
    """Put the first damage right, if it is one wrong byte; True if there may be more."""
    damage = journal.damage
    if damage is None:
        return False
    lines, has_more = journal.damaged_lines()
    mended = mend(lines)
    if mended is not None:
        kept = journal.put_right(mended)
        _logger.warning(
            "The journal %s was damaged at line %d (byte %d): %s. One byte was wrong and is put "
            "right; what was there from this line on is kept in %s.",
            journal.path,
            damage.line,
            damage.offset,
            damage.problem,
            "" if kept is None else kept.name,
        )
        return True
    if has_more:
        raise StorageError(
            f"the journal {journal.path} is damaged at line {damage.line} (byte {damage.offset}): "
            f"{damage.problem}, and good records follow, which mean nothing without that line. "
            f"Nothing was changed. Put back a copy of the file; or give another `name` to begin "
            f"anew; or cut the file at that byte (truncate -s {damage.offset} FILE) to go on from "
            f"there, which repeats all that came later."
        )
    return False


def _put_damage_aside(journal: LocalJournal) -> bool:
    damage = journal.damage
    kept = journal.cut_damage()
    if damage is None or kept is None:
        return False
    _logger.warning(
        "The journal %s is damaged at line %d (byte %d): %s. What comes before is used; the rest "
        "is kept in %s.",
        journal.path,
        damage.line,
        damage.offset,
        damage.problem,
        kept.name,
    )
    return True
