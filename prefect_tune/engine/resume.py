"""Resuming an interrupted or killed experiment from its directory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_tune._version import __version__
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.backlog import BacklogFinder
from prefect_tune.engine.plan import ExperimentPlan
from prefect_tune.engine.replay import replay
from prefect_tune.engine.search_replay import SearchReplay
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import RUNNING
from prefect_tune.logger.worker import Backlog
from prefect_tune.storage.header import JournalHeader, parse_header
from prefect_tune.storage.journal import LocalJournal
from prefect_tune.storage.search_state import SearchStates

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where an experiment goes on.

    Attributes:
        origin: Id of the run that it belongs to.
        suggested: How many trials the search has suggested.
        told: How much the search has been told.
        backlog: Results that are to be logged first.
    """

    origin: str
    suggested: int = 0
    told: int = 0
    backlog: list[Backlog] = field(default_factory=list)


def resume(
    plan: ExperimentPlan, journal: LocalJournal, coordinator: Coordinator
) -> Resumption | None:
    """Bring a new coordinator and the search of a plan to where the journal ends.

    Args:
        plan: What to go on with.
        journal: The journal; what cannot be read of it is put aside, with a warning.
        coordinator: Without trials yet.

    Returns:
        Where to go on; None if the journal does not hold a run.

    Raises:
        InvalidArgument: If the experiment is another one than planned.
        StorageError: If the journal is of a newer format or cannot be understood.
    """
    path = journal.path
    start, header, latest = _last_run(journal)
    was_damaged = _put_damage_aside(journal)
    if header is None or latest is None:
        return None
    _check_same(plan, header, latest, path.parent)
    states = SearchStates(path.parent, header.origin)
    if was_damaged:
        states.forget_latest()
    search = SearchReplay(plan.source, states.load())
    finder = BacklogFinder(plan.callbacks)
    with _collector_off():
        replay(journal.read(start), coordinator, search, finder.see)
    _tell_what_was_found(coordinator, path.parent)
    return Resumption(header.origin, search.suggested, search.told, finder.found())


def _last_run(journal: LocalJournal) -> tuple[int, JournalHeader | None, JournalHeader | None]:
    """Where the last run in a journal begins, its first header and its newest one."""
    start, first, latest = 0, None, None
    for index, record in enumerate(journal.read()):
        header = parse_header(record)
        if header is None:
            continue
        latest = header
        if first is None or header.is_first:
            start, first = index, header
    return start, first, latest


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


def _check_same(
    plan: ExperimentPlan, first: JournalHeader, latest: JournalHeader, path: Path
) -> None:
    """Compare the plan with what the journal was written for."""
    new = plan.header(0.0, first.origin)
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
    differences = [
        f"{what} was {before}, is {now}"
        for what, before, now in (
            ("the scheduler", latest.scheduler, new.scheduler),
            ("prefect_tune", latest.prefect_tune, __version__),
            ("Python", latest.python, new.python),
        )
        if before and before != now
    ]
    if latest.code and new.code and latest.code != new.code:
        differences.append(f"the source of {new.trainable} has changed")
    if differences:
        _logger.warning("The experiment is resumed with differences: %s.", "; ".join(differences))


def _tell_what_was_found(coordinator: Coordinator, path: Path) -> None:
    trials = coordinator.get_trials()
    finished = sum(trial.is_finished() for trial in trials)
    running = sum(trial.status == RUNNING for trial in trials)
    _logger.info(
        "Resuming %s: %d trials, of which %d are finished and %d ran when it ended.",
        path,
        len(trials),
        finished,
        running,
    )


@contextmanager
def _collector_off() -> Iterator[Any]:
    """Much is created and nearly all of it stays: looking for cycles again and again is wasted."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
