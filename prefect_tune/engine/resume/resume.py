"""Resumes an experiment: from a snapshot and the records behind it, or by a full replay."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.resume.callbacks import BacklogFinder
from prefect_tune.engine.resume.last_run import (
    RunRecords,
    check_same_experiment,
    find_last_run,
    report_resumption,
)
from prefect_tune.engine.resume.orphan_checkpoints import OrphanCheckpoints, find_checkpoints
from prefect_tune.engine.resume.replay import SearchReplay, replay
from prefect_tune.engine.resume.snapshot import (
    Position,
    StatefulParts,
    records_after,
    restore_snapshot,
)
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.error import TuneError
from prefect_tune.logger.threads import Backlog
from prefect_tune.search.search_state import SearchState, SearchStates
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotUnusable

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The state from which an experiment starts or goes on.

    Attributes:
        position: How far the experiment is.
        coordinator: The coordinator, with the state of the earlier run.
        backlog: Results that the loggers have to write first.
        orphans: Checkpoints that the journal does not mention.
    """

    position: Position
    coordinator: Coordinator
    backlog: list[Backlog] = field(default_factory=list)
    orphans: OrphanCheckpoints = field(default_factory=OrphanCheckpoints)


class _SearchIsAheadOfJournal(TuneError):
    """Raised if the saved state of the search includes events that the journal has lost."""


class Resumer:
    """Brings coordinator, search, scheduler and stopper to the end of the journal.

    The journal and the initial state of the search are enough for that. A snapshot and the newest
    state of the search make it faster, and more exact for a search that is not reproducible.

    Args:
        setup: The setup of the resumed experiment; its search is not used yet.
        journal: The journal.
        run: The run in the journal to resume.
        stateful_parts: Scheduler and stopper, not used yet.
        make_coordinator: Makes a coordinator without trials.
    """

    def __init__(
        self,
        setup: ExperimentSetup,
        journal: LocalJournal,
        run: RunRecords,
        stateful_parts: StatefulParts,
        make_coordinator: Callable[[], Coordinator],
    ) -> None:
        self._setup = setup
        self._journal = journal
        self._run = run
        self._stateful_parts = stateful_parts
        self._make_coordinator = make_coordinator
        self._states = SearchStates(journal.path.parent, run.first.origin, setup.pickles)
        self._files = SnapshotFiles(journal.path.parent, setup.pickles)
        self._unused = _pickled_states(stateful_parts)

    def resume(self) -> StartingPoint:
        """Resume the run in the fastest way that works.

        Raises:
            StorageError: If a record cannot be decoded.
            TuneError: If the search suggests nothing where it had suggested a trial.
        """
        if self._run.damaged:
            self._states.delete_latest()
        state = self._load_state()
        try:
            start = self._with_snapshot(state)
        except Exception as error:
            # The user's scheduler and stopper may raise anything, and so does a damaged file.
            _logger.warning(
                "The snapshot in %s is not used: %s. The whole journal is replayed.",
                self._journal.path.parent,
                error
                if isinstance(error, SnapshotUnusable)
                else f"{type(error).__name__}: {error}",
            )
            self._start_over()
        else:
            if start is not None:
                return start
        try:
            return self._without_snapshot(state)
        except _SearchIsAheadOfJournal as error:
            _logger.info("%s All of the search is replayed.", error)
            self._start_over()
            # What is left is the state from before the first suggestion.
            self._states.delete_latest()
            return self._without_snapshot(self._load_state())

    def _load_state(self) -> SearchState | None:
        return self._states.load(getattr(self._setup.source, "state_is_data", False))

    def _start_over(self) -> None:
        """Set scheduler, stopper and snapshot files back after a failed try."""
        self._files.reset()
        if self._unused is not None:
            scheduler, stopper = cloudpickle.loads(self._unused)
            self._stateful_parts.scheduler.set_state(scheduler)
            self._stateful_parts.stopper.set_state(stopper)

    def _with_snapshot(self, state: SearchState | None) -> StartingPoint | None:
        """Load the snapshot and replay the records behind it; None if there is no snapshot.

        Raises:
            Exception: The reason why the snapshot cannot be used.
        """
        head = self._files.load_head(self._run.first.origin)
        if head is None or self._unused is None:
            return None
        if state is None or state.suggested < head.suggested or state.told < head.told:
            raise SnapshotUnusable("the state of the search that belongs to it is missing")
        tail = records_after(self._journal, self._run, head)
        coordinator = self._make_coordinator()
        body, stored = restore_snapshot(self._files, head, self._stateful_parts, coordinator)
        search = SearchReplay(self._setup.source, state, head.suggested, head.told)
        for command in body.tells:
            search.tell(command)
        for event in body.suggested:
            search.suggest(event)
        position = Position(head.origin, self._files, constants=body.constants, stored=stored)
        return self._replay(tail, coordinator, search, position)

    def _without_snapshot(self, state: SearchState | None) -> StartingPoint:
        """Replay the whole journal.

        Raises:
            _SearchIsAheadOfJournal: If the state of the search is.
        """
        search = SearchReplay(self._setup.source, state)
        records = self._journal.read(self._run.start)
        position = Position(self._run.first.origin, self._files)
        return self._replay(records, self._make_coordinator(), search, position)

    def _replay(
        self,
        records: Iterable[bytes],
        coordinator: Coordinator,
        search: SearchReplay,
        position: Position,
    ) -> StartingPoint:
        before = {trial.trial_id: trial.results_seen for trial in coordinator.get_trials()}
        finder = BacklogFinder(self._setup.callbacks, before)
        pickles = self._setup.pickles
        replay(records, coordinator, search, finder.add, position.constants, pickles)
        if search.is_ahead_of_journal:
            raise _SearchIsAheadOfJournal("The newest state of the search is ahead of the journal.")
        finder.drop_unjournaled_results(coordinator.get_trials())
        position.records = self._run.count
        position.suggested, position.told = search.suggested, search.told
        return StartingPoint(position, coordinator, finder.backlogs())


def _pickled_states(stateful_parts: StatefulParts) -> bytes | None:
    """Return the pickled states of scheduler and stopper; None if they cannot be pickled."""
    try:
        pickled: bytes = cloudpickle.dumps(
            (stateful_parts.scheduler.get_state(), stateful_parts.stopper.get_state())
        )
    except Exception as error:
        # A user's class may raise anything. Then there is no snapshot of it either.
        _logger.debug("The states of scheduler and stopper cannot be pickled: %s", error)
        return None
    return pickled


def resume(
    setup: ExperimentSetup,
    journal: LocalJournal,
    stateful_parts: StatefulParts,
    make_coordinator: Callable[[], Coordinator],
    checkpoints: CheckpointStore,
) -> StartingPoint | None:
    """Bring the search, scheduler and stopper of a setup to the end of the journal.

    Args:
        setup: The setup of the resumed experiment.
        journal: The journal; a damaged end is moved to another file, with a warning.
        stateful_parts: The setup's scheduler and stopper, not used yet.
        make_coordinator: Makes a coordinator without trials.
        checkpoints: The storage of checkpoints.

    Returns:
        The state to go on from; None if the journal holds no run, or one of another sweep.

    Raises:
        InvalidArgument: If the experiment is another one.
        StorageError: If the journal is of a newer format or cannot be decoded.
        TuneError: If the search suggests nothing where it had suggested a trial.
    """
    run = find_last_run(journal)
    if run is None:
        return None
    if setup.origin not in (None, run.first.origin):
        _logger.warning(
            "Another sweep has been run in %s since: this one begins anew.", journal.path.parent
        )
        return None
    check_same_experiment(setup, run.first, run.latest, journal.path.parent)
    with _paused_garbage_collector():
        start = Resumer(setup, journal, run, stateful_parts, make_coordinator).resume()
    for trial in start.coordinator.get_live_trials():
        # A resume may change the resources of trials: they do not affect results.
        trial.resources = setup.resources_for(trial.config)
    orphans = find_checkpoints(
        start.coordinator.table,
        checkpoints,
        journal.read(run.start),
        time.time(),
        None if setup.places.location_of(setup.name) is None else journal.path.parent,
    )
    report_resumption(setup, start.coordinator, journal.path.parent)
    return replace(start, orphans=orphans)


@contextmanager
def _paused_garbage_collector() -> Iterator[Any]:
    """Pause Python's cyclic garbage collector: a replay makes many objects, and nearly all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
