"""Brings an experiment to where its journal ends: by snapshot and tail, or by a full replay."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle

from prefect_tune.callback import Callback
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.engine.resume.checks import check_same, tell_what_was_found
from prefect_tune.engine.resume.last_run import RunRecords, find_last_run
from prefect_tune.engine.resume.log_backlog import BacklogFinder
from prefect_tune.engine.resume.orphan_checkpoints import OrphanCheckpoints, find_checkpoints
from prefect_tune.engine.resume.replay import replay
from prefect_tune.engine.resume.result_constants import AttemptConstants
from prefect_tune.engine.resume.search_replay import SearchReplay
from prefect_tune.engine.resume.snapshot import (
    Position,
    Restored,
    StatefulParts,
    restore_snapshot,
    tail_of,
)
from prefect_tune.error import TuneError
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.logger.threads import Backlog
from prefect_tune.search.source import TrialSource
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.search_state import SearchState, SearchStates
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotUnusable

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where an experiment goes on.

    Attributes:
        position: How far it is.
        coordinator: Knows what the one of the last opening knew.
        backlog: Results that are to be logged first.
        found: Checkpoints that the journal does not know of.
    """

    position: Position
    coordinator: Coordinator
    backlog: list[Backlog] = field(default_factory=list)
    found: OrphanCheckpoints = field(default_factory=OrphanCheckpoints)


class _SearchIsAhead(TuneError):
    """The saved state of the search knows things that the journal has lost."""


class Resumer:
    """Resumes in the fastest way that works.

    A snapshot and the newest state of the search only make it faster or, for a search that is not
    reproducible, better: the journal, and the state in which the search began, are enough.

    Args:
        source: The search, not used yet.
        callbacks: All callbacks; those that are loggers may have missed results.
        journal: The journal.
        run: The run in it that is to go on.
        stateful_parts: Scheduler and stopper, not used yet.
        make_coordinator: Makes a coordinator without trials.
        pickles: Knows which pickles may be loaded.
    """

    def __init__(
        self,
        source: TrialSource,
        callbacks: Sequence[Callback],
        journal: LocalJournal,
        run: RunRecords,
        stateful_parts: StatefulParts,
        make_coordinator: Callable[[], Coordinator],
        pickles: Pickles = OF_THIS_PROCESS,
    ) -> None:
        self._source = source
        self._callbacks = callbacks
        self._journal = journal
        self._run = run
        self._stateful_parts = stateful_parts
        self._make_coordinator = make_coordinator
        self._pickles = pickles
        self._states = SearchStates(journal.path.parent, run.first.origin, pickles)
        self._files = SnapshotFiles(journal.path.parent, pickles)
        self._unused = _pickled_states(stateful_parts)

    def resume(self) -> Resumption:
        """Bring everything to where the journal ends.

        Raises:
            StorageError: If a record cannot be understood.
            TuneError: If the search cannot follow.
        """
        if self._run.damaged:
            self._states.delete_latest()
        state = self._load_state()
        try:
            found = self._with_snapshot(state)
        except Exception as error:
            # The scheduler's and stopper's own code runs on the way, and a file may hold anything.
            _logger.warning(
                "The snapshot in %s is not used: %s. The whole journal is replayed.",
                self._journal.path.parent,
                error
                if isinstance(error, SnapshotUnusable)
                else f"{type(error).__name__}: {error}",
            )
            self._start_over()
            found = None
        if found is not None:
            return found
        try:
            return self._without_snapshot(state)
        except _SearchIsAhead as error:
            _logger.info("%s It is asked and told everything once more.", error)
            self._start_over()
            self._states.delete_latest()
            return self._without_snapshot(self._load_state(), whatever=True)

    def _load_state(self) -> SearchState | None:
        return self._states.load(getattr(self._source, "state_is_data", False))

    def _start_over(self) -> None:
        """Undo what a failed try has done to scheduler and stopper."""
        self._files.start_anew()
        if self._unused is not None:
            scheduler, stopper = cloudpickle.loads(self._unused)
            self._stateful_parts.scheduler.set_state(scheduler)
            self._stateful_parts.stopper.set_state(stopper)

    def _with_snapshot(self, state: SearchState | None) -> Resumption | None:
        """Replay what is behind the snapshot; None if there is none.

        Raises:
            Exception: Whatever keeps the snapshot from being used.
        """
        head = self._files.load_head(self._run.first.origin)
        if head is None or self._unused is None:
            return None
        if state is None or state.suggested < head.suggested or state.told < head.told:
            raise SnapshotUnusable("the state of the search that belongs to it is missing")
        tail = tail_of(self._journal, self._run, head)
        coordinator = self._make_coordinator()
        restored = restore_snapshot(self._files, head, self._stateful_parts, coordinator)
        search = SearchReplay(self._source, state, head.suggested, head.told)
        for command in restored.body.tells:
            search.tell(command)
        for event in restored.body.suggested:
            search.suggest(event)
        return self._replay(tail, coordinator, search, restored)

    def _without_snapshot(self, state: SearchState | None, whatever: bool = False) -> Resumption:
        """Replay everything.

        Raises:
            _SearchIsAhead: Unless `whatever`.
        """
        search = SearchReplay(self._source, state)
        records = self._journal.read(self._run.start)
        return self._replay(records, self._make_coordinator(), search, None, whatever)

    def _replay(
        self,
        records: Iterable[bytes],
        coordinator: Coordinator,
        search: SearchReplay,
        restored: Restored | None,
        whatever: bool = False,
    ) -> Resumption:
        constants = AttemptConstants() if restored is None else restored.body.constants
        before = {trial.trial_id: trial.results_seen for trial in coordinator.get_trials()}
        finder = BacklogFinder(self._callbacks, before)
        replay(records, coordinator, search, finder.see, constants, self._pickles)
        if search.knows_too_much and not whatever:
            raise _SearchIsAhead("The newest state of the search is ahead of the journal.")
        finder.drop_unknown(coordinator.get_trials())
        position = Position(
            origin=self._run.first.origin,
            files=self._files,
            records=self._run.count,
            suggested=search.suggested,
            told=search.told,
            constants=constants,
            stored=set() if restored is None else restored.stored,
        )
        return Resumption(position, coordinator, finder.found())


def _pickled_states(stateful_parts: StatefulParts) -> bytes | None:
    """The states of scheduler and stopper; None if they have none that can be kept."""
    try:
        pickled: bytes = cloudpickle.dumps(
            (stateful_parts.scheduler.get_state(), stateful_parts.stopper.get_state())
        )
    except Exception as error:
        # Whatever a part of the user's raises. There is no snapshot of it either.
        _logger.debug("Scheduler and stopper have no state that can be kept: %s", error)
        return None
    return pickled


def resume(
    plan: ExperimentPlan,
    journal: LocalJournal,
    stateful_parts: StatefulParts,
    make_coordinator: Callable[[], Coordinator],
    checkpoints: CheckpointStore,
) -> Resumption | None:
    """Bring the search, scheduler and stopper of a plan to where the journal ends.

    Args:
        plan: What to go on with.
        journal: The journal; what cannot be read of it is put aside, with a warning.
        stateful_parts: The plan's scheduler and stopper, not used yet.
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
            plan.source,
            plan.callbacks,
            journal,
            run,
            stateful_parts,
            make_coordinator,
            plan.pickles,
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
