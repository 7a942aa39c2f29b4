"""The last run in a journal: where it begins, and what can be told at a glance."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from prefect_tune.storage.header import JournalHeader, parse_header
from prefect_tune.storage.journal import LocalJournal

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

    What cannot be read of the journal is put aside, with a warning.

    Raises:
        StorageError: If the journal is of a newer format or cannot be repaired.
    """
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
    damaged = _put_damage_aside(journal)
    if first is None or latest is None:
        return None
    return RunRecords(start, first, latest, count - start, suggested, damaged)


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
