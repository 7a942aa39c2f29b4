"""Resuming an interrupted or killed experiment from its directory."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.engine.resume.checks import check_same, tell_what_was_found
from prefect_tune.engine.resume.last_run import find_last_run
from prefect_tune.engine.resume.orphan_checkpoints import find_checkpoints
from prefect_tune.engine.resume.resume import Resumer, Resumption
from prefect_tune.engine.resume.snapshot import Deciders
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.file import LocalJournal

_logger = logging.getLogger(__name__)


def resume(
    plan: ExperimentPlan,
    journal: LocalJournal,
    deciders: Deciders,
    make_coordinator: Callable[[], Coordinator],
    checkpoints: CheckpointStore,
) -> Resumption | None:
    """Bring the search, scheduler and stopper of a plan to where the journal ends.

    Args:
        plan: What to go on with.
        journal: The journal; what cannot be read of it is put aside, with a warning.
        deciders: The plan's scheduler and stopper, not used yet.
        make_coordinator: Makes a coordinator without trials.
        checkpoints: Where checkpoints are kept.

    Returns:
        Where to go on; None if the journal does not hold a run, or not the plan's.

    Raises:
        InvalidArgument: If the experiment is another one than planned.
        StorageError: If the journal is of a newer format or cannot be understood.
        TuneError: If the search cannot follow.
    """
    run = find_last_run(journal)
    if run is None:
        return None
    if plan.origin not in (None, run.first.origin):
        _logger.warning(
            "Another sweep has been run in %s since: this one begins anew.", journal.path.parent
        )
        return None
    check_same(plan, run.first, run.latest, journal.path.parent)
    with _collector_off():
        resumer = Resumer(
            plan.source, plan.callbacks, journal, run, deciders, make_coordinator, plan.pickles
        )
        found = resumer.resume()
    for trial in found.coordinator.get_live_trials():
        # What an attempt needs may be given anew; it says nothing about the results.
        trial.resources = plan.resources_for(trial.config)
    unknown = find_checkpoints(
        found.coordinator.table,
        checkpoints,
        journal.read(run.start),
        time.time(),
        None if plan.places.of(plan.name) is None else journal.path.parent,
    )
    tell_what_was_found(plan, found.coordinator, journal.path.parent)
    return replace(found, found=unknown)


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
