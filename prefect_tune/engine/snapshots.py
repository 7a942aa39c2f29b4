"""Snapshots of a running experiment, so that a resume need not replay all of its journal.

A snapshot is the state of everything that decides, at a place in the journal: what is behind it is
replayed on top. It holds no more than a replay of the same records would come to, so whatever is
wrong with one, the journal alone will do.
"""

from __future__ import annotations

import logging
import platform
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prefect_tune._version import __version__
from prefect_tune.coordinator.commands import Command, Notice, Notify, Record, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import CheckpointsDropped, SearchSaved, TrialSuggested
from prefect_tune.engine.attempt_constants import AttemptConstants
from prefect_tune.engine.callback_states import CallbackStates
from prefect_tune.engine.snapshot_pickle import dump_state
from prefect_tune.error import StorageError
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotHead

_logger = logging.getLogger(__name__)
#: Unless the user says otherwise, a snapshot is taken this often at most, in seconds ...
_EVERY_S = 10.0
#: ... and takes at most this share of the time.
_SHARE = 0.05

PYTHON = ".".join(platform.python_version_tuple()[:2])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deciders:
    """What a snapshot holds the state of, beside the coordinator.

    Attributes:
        scheduler: The scheduler.
        stopper: The stopping criteria.
        search_alg: The searcher, which saves itself; a scheduler may refer to it.
        scheduler_print: Fingerprint of the scheduler before the run.
        stopper_print: Fingerprint of the stopper before the run.
    """

    scheduler: TrialScheduler
    stopper: Stopper
    search_alg: Any = None
    scheduler_print: str = ""
    stopper_print: str = ""

    def names(self, coordinator: Coordinator) -> dict[str, Any]:
        """The objects that a snapshot only names."""
        return {
            "coordinator": coordinator,
            "scheduler": self.scheduler,
            "stopper": self.stopper,
            "search_alg": self.search_alg,
        }


@dataclass
class SnapshotBody:
    """The state itself; pickled by `dump_state`.

    Attributes:
        coordinator: State of the coordinator.
        scheduler: State of the scheduler.
        stopper: State of the stopping criteria.
        constants: What results are completed with.
        suggested: Suggestions that the saved state of the search does not know.
        tells: What it has not been told.
    """

    coordinator: Any
    scheduler: Any
    stopper: Any
    constants: AttemptConstants
    suggested: list[TrialSuggested]
    tells: list[TellSearch]


@dataclass
class Position:
    """How far an experiment has got when it is opened.

    Attributes:
        origin: Id of the run.
        records: How many records its journal has.
        suggested: How many trials the search has suggested.
        told: How much it has been told.
        constants: What results are completed with.
        files: Where snapshots go; continues the one that the experiment was resumed from.
        stored: Ids of the finished trials in `files`.
    """

    origin: str
    files: SnapshotFiles
    records: int = 0
    suggested: int = 0
    told: int = 0
    constants: AttemptConstants = field(default_factory=AttemptConstants)
    stored: set[str] = field(default_factory=set)


class _Since(Generic[T]):
    """Numbered items, of which the first are forgotten once they are saved elsewhere."""

    def __init__(self, count: int) -> None:
        self.base = count
        self.items: deque[T] = deque()

    def add(self, item: T) -> None:
        self.items.append(item)

    def forget(self, count: int) -> None:
        while self.items and self.base < count:
            self.items.popleft()
            self.base += 1
        self.base = max(self.base, count)


@dataclass
class _Taken:
    """A snapshot that waits until the loggers have written what came before it."""

    head: SnapshotHead | None
    body: bytes
    trials: list[Trial]
    is_logged: Callable[[], bool]
    cost: float


class Snapshots:
    """Takes snapshots now and then, and saves the states of callbacks with them.

    A snapshot counts on it that the results before it are in the result files: a resume looks for
    missing ones in what it replays. So it is written only when the loggers have got there.

    Args:
        position: Where the experiment stands.
        coordinator: The coordinator.
        deciders: Everything else that decides.
        callbacks: The states of callbacks.
        mark: Visits callbacks once they have been told all that has happened so far, and loggers
            when they have written it; returns a function that is True when that is done.
        search_can_save: False once the state of the search has turned out not to be one that can be
            saved: only a full replay brings it back then.
        every_s: Seconds between snapshots; None chooses them so that they cost little.
        clock: Tells the seconds.
    """

    def __init__(
        self,
        position: Position,
        coordinator: Coordinator,
        deciders: Deciders,
        callbacks: CallbackStates,
        mark: Callable[[Callable[[Any], None]], Callable[[], bool]],
        search_can_save: Callable[[], bool] = lambda: True,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._position = position
        self._coordinator = coordinator
        self._deciders = deciders
        self._callbacks = callbacks
        self._mark = mark
        self._search_can_save = search_can_save
        self._every_s = every_s
        self._clock = clock
        self._next = clock() + (_EVERY_S if every_s is None else every_s)
        self._last_record = 0
        self._suggested = _Since[TrialSuggested](position.suggested)
        self._tells = _Since[TellSearch](position.told)
        self._search_is_saved = False
        self._possible = True
        self._taken: _Taken | None = None
        finished = (trial for trial in coordinator.get_trials() if trial.is_finished())
        self._touched = {t.trial_id: None for t in finished if t.trial_id not in position.stored}

    # -- what happens -----------------------------------------------------------------------------

    def opened(self, experiment_id: str, header: bytes) -> None:
        """The experiment was opened anew.

        Args:
            experiment_id: Id of the opening.
            header: Its record in the journal.
        """
        self._count((header,))
        self._position.constants.reopened(experiment_id)

    def journaled(self, commands: Iterable[Command], records: Sequence[bytes]) -> None:
        """The coordinator has answered events with these commands.

        Args:
            commands: The commands.
            records: Those that are records, as they are in the journal by now.
        """
        self._count(records)
        if not self._possible:
            return
        for command in commands:
            if isinstance(command, TellSearch):
                self._tells.add(command)
            elif isinstance(command, Record):
                event = command.event
                if isinstance(event, TrialSuggested):
                    self._suggested.add(event)
                elif isinstance(event, CheckpointsDropped):
                    self._touched[event.trial_id] = None
                else:
                    self._position.constants.see(event)
            elif isinstance(command, Notify) and command.notice is not Notice.TRIAL_RESULT:
                self._touched[command.trial_id] = None

    def _count(self, records: Sequence[bytes]) -> None:
        if records:
            self._position.records += len(records)
            self._last_record = zlib.crc32(records[-1])

    def search_saved(self, event: SearchSaved) -> None:
        """The state of the search is on disk."""
        self._search_is_saved = True
        self._suggested.forget(event.suggested)
        self._tells.forget(event.told)

    # -- taking and writing -----------------------------------------------------------------------

    def step(self) -> None:
        """Between two batches of events: take or write a snapshot if it is time to."""
        if self._taken is not None:
            if self._taken.is_logged():
                self._write(self._taken)
        elif self._clock() >= self._next:
            begin = self._clock()
            head, body, trials = self._take()
            is_logged = self._mark(self._callbacks.collect)
            self._taken = _Taken(head, body, trials, is_logged, self._clock() - begin)

    def close(self) -> None:
        """Write a last one, once nobody is told anything any more."""
        self._callbacks.collect_all()
        self._write(_Taken(*self._take(), lambda: True, 0.0))

    def _take(self) -> tuple[SnapshotHead | None, bytes, list[Trial]]:
        coordinator, position = self._coordinator, self._position
        if not self._search_can_save():
            self._give_up("the state of the search cannot be saved")
        if not (self._possible and self._search_is_saved and coordinator.is_replayable):
            return None, b"", []
        touched = [coordinator.get_trial(trial_id) for trial_id in self._touched]
        new = [trial for trial in touched if trial is not None and trial.is_finished()]
        stored = position.stored | {trial.trial_id for trial in new}
        try:
            data = dump_state(
                self._body(),
                self._deciders.names(coordinator),
                lambda trial: trial.trial_id in stored and trial.is_finished(),
            )
        except Exception as error:
            # Whatever the objects of a user's scheduler or stopper raise.
            self._give_up(f"the state of the experiment cannot be pickled ({error})")
            return None, b"", []
        return self._head(), data, new

    def _body(self) -> SnapshotBody:
        return SnapshotBody(
            coordinator=self._coordinator.get_state(),
            scheduler=self._deciders.scheduler.get_state(),
            stopper=self._deciders.stopper.get_state(),
            constants=self._position.constants,
            suggested=list(self._suggested.items),
            tells=list(self._tells.items),
        )

    def _head(self) -> SnapshotHead:
        return SnapshotHead(
            origin=self._position.origin,
            records=self._position.records,
            last_record=self._last_record,
            suggested=self._suggested.base,
            told=self._tells.base,
            scheduler=self._deciders.scheduler_print,
            stopper=self._deciders.stopper_print,
            prefect_tune=__version__,
            python=PYTHON,
        )

    def _write(self, taken: _Taken) -> None:
        begin = self._clock()
        self._taken = None
        try:
            self._callbacks.save()
            if taken.head is not None:
                self._save(taken.head, taken.body, taken.trials)
        except StorageError as error:
            # The journal is what counts; if that cannot be written either, the sweep ends there.
            _logger.warning("%s", error)
        now = self._clock()
        cost = taken.cost + now - begin
        auto = max(_EVERY_S, cost / _SHARE)
        self._next = now + (auto if self._every_s is None else self._every_s)

    def _save(self, head: SnapshotHead, body: bytes, trials: list[Trial]) -> None:
        try:
            finished = dump_state(trials, {}, lambda trial: False) if trials else None
        except Exception as error:
            # Whatever objects in a configuration or a result raise.
            self._give_up(f"a trial cannot be pickled ({error})")
            return
        self._position.files.save(head, body, finished)
        for trial in trials:
            self._position.stored.add(trial.trial_id)
            self._touched.pop(trial.trial_id, None)

    def _give_up(self, reason: str) -> None:
        if self._possible:
            _logger.info("There will be no snapshots: %s. A resume replays the journal.", reason)
        self._possible = False
        self._suggested.items.clear()
        self._tells.items.clear()
