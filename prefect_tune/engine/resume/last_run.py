"""Finds the last run in a journal, which may be damaged, and compares it with what resumes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from prefect_tune._version import __version__
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.setup.digests import differences, stable_text
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.experiment.trial import ERROR, RUNNING
from prefect_tune.stopper import CombinedStopper, TimeoutStopper
from prefect_tune.storage.journal.file import Damage, LocalJournal
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_repair import repair_lines

_logger = logging.getLogger(__name__)
_SHOWN = 5


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
    found = _read_last_run(journal)
    while journal.damage is not None and _repair_line(journal, journal.damage):
        found = _read_last_run(journal)
    damaged = journal.cut_damage() is not None
    return found and replace(found, damaged=damaged)


def _read_last_run(journal: LocalJournal) -> RunRecords | None:
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


def check_same_experiment(
    setup: ExperimentSetup, first: JournalHeader, latest: JournalHeader, path: Path
) -> None:
    """Raise if the journal is of another experiment than the setup's; warn of other differences.

    Args:
        setup: The setup of the resumed experiment.
        first: The first header of the run in the journal.
        latest: The last header of the run in the journal.
        path: The experiment directory.

    Raises:
        InvalidArgument: If the trainable or the search algorithm is another one.
    """
    new = setup.header(0.0, first.origin)
    if first.trainable and first.trainable != new.trainable:
        raise InvalidArgument(
            "resume",
            f"the experiment in {path} is of the trainable {first.trainable!r}, not "
            f"{new.trainable!r}.",
            "Give the same trainable, or another `name`.",
        )
    if first.search and first.search != new.search:
        raise InvalidArgument(
            "resume",
            f"the experiment in {path} was searched by {first.search}, not {new.search}.",
            "Give the same `search_alg`.",
        )
    found = list(_differences(latest, new))
    if found:
        _logger.warning("The experiment is resumed with differences: %s.", "; ".join(found))


def _differences(before: JournalHeader, now: JournalHeader) -> Iterator[str]:
    for what, old, new in (
        ("the scheduler", before.scheduler, now.scheduler),
        ("prefect_tune", before.prefect_tune, __version__),
        ("Python", before.python, now.python),
    ):
        if old and old != new:
            yield f"{what} was {old}, is {new}"
    if before.code and now.code and before.code != now.code:
        yield f"the source of {now.trainable} has changed"
    if before.arguments:
        yield from differences(_shown(before), _shown(now))
    if before.space is not None and now.space is not None:
        changed = list(differences(before.space, now.space))
        if changed:
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            grid = any("grid_search" in change for change in changed)
            yield (
                f"the search space has changed ({', '.join(changed[:_SHOWN])}{more}), which trials "
                "that exist already do not follow"
                + (", and of another grid some points may be left out or come twice" * grid)
            )
    if before.stop and now.stop and before.stop != now.stop:
        yield (
            f"`stop` was {before.stop}, is {now.stop}, which holds for results from now on and "
            "continues no finished trial"
        )


def _shown(header: JournalHeader) -> dict[str, str]:
    return {f"`{name}`": stable_text(value) for name, value in header.arguments.items()}


def report_resumption(setup: ExperimentSetup, coordinator: Coordinator, path: Path) -> None:
    """Print how far the resumed experiment is; warn of arguments that leave nothing to do."""
    trials = coordinator.get_trials()
    finished = sum(trial.is_finished() for trial in trials)
    failed = sum(trial.status == ERROR for trial in trials)
    found = (
        f"Going on with {path}: {len(trials)} trials, of which {finished} have ended"
        f"{f' ({failed} of them failed)' if failed else ''} and "
        f"{sum(trial.status == RUNNING for trial in trials)} were running when it was left."
    )
    if setup.run.verbose != 0:
        print(found, flush=True)
    else:
        _logger.info("%s", found)
    total = setup.source.total()
    if total is not None and len(trials) > total:
        _logger.warning(
            "`num_samples` makes %d trials, but the experiment has %d already: no more are made.",
            total,
            len(trials),
        )
    stopper = setup.stopper
    for member in stopper.stoppers if isinstance(stopper, CombinedStopper) else (stopper,):
        if isinstance(member, TimeoutStopper) and member.stop_all():
            _logger.warning(
                "The time budget of %.0f s is used up: the experiment ends at once. Give a larger "
                "`time_budget_s`; the time that was used counts.",
                member.budget,
            )
