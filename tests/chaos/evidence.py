"""What a run has left behind: its journal, its result files, what it has shown and noted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import parse_header


class Key(NamedTuple):
    """One result of a run: which process made it, and its how-many-th it was."""

    trial_id: str
    token: str
    n: int


@dataclass
class Told:
    """The records of a journal, as far as it can be read.

    Attributes:
        beginnings: How many runs begin in it; a run that is only ever resumed begins once.
        events: All other records, in order.
        damage: What stopped the reading, if anything did.
    """

    beginnings: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    damage: str = ""

    def results(self) -> Iterator[tuple[dict[str, Any], int, dict[str, Any]]]:
        """Record, sequence number and result of every acknowledged result."""
        for event in self.events:
            if event["event"] == "ResultReported":
                for offset, result in enumerate(event["results"]):
                    yield event, event["first_seq"] + offset, result

    def keys(self) -> list[Key]:
        """Every acknowledged result."""
        return [key_of(event["trial_id"], result) for event, _, result in self.results()]

    def finished(self) -> set[str]:
        """Trials that are over for good."""
        return {event["trial_id"] for event in self.events if ends_trial(event)}


def ends_trial(event: dict[str, Any]) -> bool:
    """Whether a record says that its trial is over for good.

    A result that ended its trial says so itself: what comes behind it is only how the process went.
    """
    ended = event["event"] == "AttemptEnded" and event.get("fate") == "terminated"
    return ended or (event["event"] == "ResultReported" and bool(event.get("stop")))


def key_of(trial_id: str, result: dict[str, Any]) -> Key:
    """The result's key."""
    return Key(trial_id, result["token"], result["n"])


def read_journal(experiment_dir: Path) -> Told:
    """What the journal of an experiment holds now; empty if there is none."""
    source = experiment_dir / JOURNAL_FILE
    # Read from a copy: another process may be about to repair or to go on with this one.
    return told_by(source.read_bytes()) if source.exists() else Told()


def told_by(text: bytes) -> Told:
    """What the text of a journal says."""
    told = Told()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, JOURNAL_FILE)
        copy.write_bytes(text)
        journal = LocalJournal(copy)
        for record in journal.read():
            header = parse_header(record)
            if header is None:
                told.events.append(json.loads(record))
            else:
                told.beginnings += header.is_first
        told.damage = "" if journal.damage is None else journal.damage.problem
        journal.close()
    return told


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file; what a killed process left half is not one."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def read_diary(directory: Path) -> list[dict[str, Any]]:
    """What the trial processes have noted at their beginnings."""
    entries = []
    for path in sorted(directory.glob("*.json")):
        text = path.read_text()
        if text:  # killed while it wrote
            entries.append(json.loads(text))
    return entries
