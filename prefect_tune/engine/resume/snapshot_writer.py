"""Writes snapshots of a running experiment, so that a resume need not replay its whole journal.

A snapshot holds the states of coordinator, scheduler and stopper at a position in the journal. A
resume loads it and replays the records behind it. It equals the result of replaying all records up
to that position, so if it cannot be used, the journal alone is enough.
"""

from __future__ import annotations

import itertools
import logging
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from prefect_tune._version import __version__
from prefect_tune.coordinator.commands import Command, Notice, Notify, Record, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import CheckpointsDropped, SearchSaved, TrialSuggested
from prefect_tune.engine.resume.callbacks import CallbackStates
from prefect_tune.engine.resume.snapshot import (
    PYTHON,
    Position,
    SnapshotBody,
    StatefulParts,
    dump_state,
)
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.storage.snapshot_files import SnapshotHead

_logger = logging.getLogger(__name__)
#: By default a snapshot is taken at most once in this many seconds, ...
_EVERY_S = 10.0
#: ... and takes at most this share of the time.
_SHARE = 0.05
#: Number of finished trials that are written at a time.
_AT_ONCE = 200

T = TypeVar("T")


class _UnsavedItems(Generic[T]):
    """Numbered items that no saved search state includes yet."""

    def __init__(self, count: int) -> None:
        self.base = count
        self.items: deque[T] = deque()

    def add(self, item: T) -> None:
        self.items.append(item)

    def drop_saved(self, count: int) -> None:
        while self.items and self.base < count:
            self.items.popleft()
            self.base += 1
        self.base = max(self.base, count)


class Snapshots:
    """Takes snapshots at intervals, and saves the states of callbacks with them.

    A resume looks for results that the result files lack only in the records that it replays. So a
    snapshot is written only once the loggers have written all results before it.

    Args:
        position: How far the experiment has got.
        coordinator: The coordinator.
        stateful_parts: The scheduler, the stopper and the searcher.
        callbacks: The states of callbacks.
        mark: Visits each callback and logger once it has handled all that has happened so far;
            returns a function that returns True when all were visited.
        search_can_save: Returns False once the search's state could not be saved: only a full
            replay restores the search then.
        every_s: Seconds between snapshots; None chooses them so that they cost little.
    """

    def __init__(
        self,
        position: Position,
        coordinator: Coordinator,
        stateful_parts: StatefulParts,
        callbacks: CallbackStates,
        mark: Callable[[Callable[[Any], None]], Callable[[], bool]],
        search_can_save: Callable[[], bool] = lambda: True,
        every_s: float | None = None,
    ) -> None:
        self._position = position
        self._coordinator = coordinator
        self._stateful_parts = stateful_parts
        self._callbacks = callbacks
        self._mark = mark
        self._search_can_save = search_can_save
        self._every_s = every_s
        self._next = time.monotonic() + (_EVERY_S if every_s is None else every_s)
        self._last_record = 0
        self._suggested = _UnsavedItems[TrialSuggested](position.suggested)
        self._tells = _UnsavedItems[TellSearch](position.told)
        self._search_is_saved = False
        self._enabled = True
        # A snapshot, and what tells that the loggers have written all results before it.
        self._pending: tuple[SnapshotHead | None, bytes, Callable[[], bool]] | None = None
        # Whether another snapshot is due as soon as the pending one is written.
        self._takes_next_at_once = False
        self._cost = 0.0
        finished = (trial for trial in coordinator.get_trials() if trial.is_finished())
        self._unwritten_trials = {
            t.trial_id: None for t in finished if t.trial_id not in position.stored
        }

    # -- following the experiment -----------------------------------------------------------------

    def on_opened(self, experiment_id: str, header: bytes) -> None:
        """Note that a new run of the experiment has begun.

        Args:
            experiment_id: Id of the run.
            header: The run's header in the journal.
        """
        self._count((header,))
        self._position.constants.start_run(experiment_id)

    def on_journaled(self, commands: Iterable[Command], records: Sequence[bytes]) -> None:
        """Note the coordinator's commands after a batch of events, once its records are journaled.

        Args:
            commands: The commands.
            records: The encoded events of the `Record` commands.
        """
        self._count(records)
        if not self._enabled:
            return
        for command in commands:
            if isinstance(command, Notify):
                if command.notice is not Notice.TRIAL_RESULT:
                    self._unwritten_trials[command.trial_id] = None
            elif isinstance(command, TellSearch):
                self._tells.add(command)
            elif isinstance(command, Record):
                event = command.event
                if isinstance(event, TrialSuggested):
                    self._suggested.add(event)
                elif isinstance(event, CheckpointsDropped):
                    self._unwritten_trials[event.trial_id] = None
                    self._position.stored.discard(event.trial_id)
                else:
                    self._position.constants.follow(event)

    def _count(self, records: Sequence[bytes]) -> None:
        if records:
            self._position.records += len(records)
            self._last_record = zlib.crc32(records[-1])

    def on_search_saved(self, event: SearchSaved) -> None:
        """Note that a state of the search has been written, and drop what the state includes."""
        self._search_is_saved = True
        self._suggested.drop_saved(event.suggested)
        self._tells.drop_saved(event.told)

    def disable(self, reason: str) -> None:
        """Write no more snapshots: they would differ from the result of a full replay.

        Args:
            reason: The reason, for the log.
        """
        if self._enabled:
            _logger.info("There will be no snapshots: %s. A resume replays the journal.", reason)
        self._enabled = False
        self._suggested.items.clear()
        self._tells.items.clear()

    # -- taking and writing -----------------------------------------------------------------------

    def take_or_write(self) -> None:
        """Take the next snapshot if it is due, or write the pending one if results are logged."""
        begin = time.monotonic()
        if self._pending is not None:
            head, body, is_logged = self._pending
            if not is_logged():
                return
            self._write(head, body)
            self._pending = None
            cost = self._cost + time.monotonic() - begin
            auto = max(_EVERY_S, cost / _SHARE)
            self._next = begin + (auto if self._every_s is None else self._every_s)
            if self._takes_next_at_once:
                self._next, self._takes_next_at_once = begin, False
            self._cost = 0.0
            return
        if begin < self._next:
            return
        # After a full replay there are many finished trials: write some per call, not all at once.
        if self._write_finished_trials(_AT_ONCE):
            self._pending = (*self._pickle_state(), self._mark(self._callbacks.collect))
        self._cost += time.monotonic() - begin

    def take_next_at_once(self) -> None:
        """Make a snapshot due now: an interrupted sweep may be killed before its last one."""
        self._next = time.monotonic()
        self._takes_next_at_once = self._pending is not None

    def close(self) -> None:
        """Write a last snapshot, once callbacks and loggers are closed."""
        self._callbacks.collect_all()
        self._write_finished_trials(None)
        self._write(*self._pickle_state())

    def _write_finished_trials(self, limit: int | None) -> bool:
        """Write up to `limit` finished trials; return True if none is left."""
        if not self._can_take:
            return True
        touched = list(itertools.islice(self._unwritten_trials, limit))
        found = [self._coordinator.table[trial_id] for trial_id in touched]
        trials = [trial for trial in found if trial.is_finished()]
        try:
            if trials:
                data = dump_state(trials, {}, lambda trial: False, self._large)
                self._position.files.add_trials(data)
        except StorageError as error:
            _logger.warning("%s", error)
        except Exception as error:
            # Objects in a configuration or a result may raise anything.
            self.disable(f"a trial cannot be pickled ({error})")
        else:
            self._position.stored |= {trial.trial_id for trial in trials}
            for trial_id in touched:
                del self._unwritten_trials[trial_id]
        return limit is None or len(touched) < limit

    @property
    def _large(self) -> LargeValues | None:
        return self._position.files.pickles.large

    @property
    def _can_take(self) -> bool:
        if not self._search_can_save():
            self.disable("the state of the search cannot be saved")
        return self._enabled and self._search_is_saved and self._coordinator.is_replayable

    def _pickle_state(self) -> tuple[SnapshotHead | None, bytes]:
        if not self._can_take:
            return None, b""
        stored = self._position.stored
        try:
            data = dump_state(
                self._body(),
                self._stateful_parts.named_objects(self._coordinator),
                lambda trial: trial.trial_id in stored and trial.is_finished(),
                self._large,
            )
        except Exception as error:
            # A user's scheduler or stopper may raise anything.
            self.disable(f"the state of the experiment cannot be pickled ({error})")
            return None, b""
        return self._head(), data

    def _body(self) -> SnapshotBody:
        return SnapshotBody(
            coordinator=self._coordinator.get_state(),
            scheduler=self._stateful_parts.scheduler.get_state(),
            stopper=self._stateful_parts.stopper.get_state(),
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
            scheduler=self._stateful_parts.scheduler_print,
            stopper=self._stateful_parts.stopper_print,
            prefect_tune=__version__,
            python=PYTHON,
        )

    def _write(self, head: SnapshotHead | None, body: bytes) -> None:
        try:
            self._callbacks.save()
            if head is not None:
                self._position.files.save(head, body)
        except StorageError as error:
            # A missing snapshot only makes a resume slower. A journal error ends the sweep.
            _logger.warning("%s", error)
