"""Snapshots of a running experiment, so that a resume need not replay all of its journal.

A snapshot is the state of everything that decides, at a place in the journal: what is behind it is
replayed on top. It holds no more than a replay of the same records would come to, so whatever is
wrong with one, the journal alone will do.
"""

from __future__ import annotations

import itertools
import logging
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect_tune._version import __version__
from prefect_tune.coordinator.commands import Command, Notice, Notify, Record, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import CheckpointsDropped, SearchSaved, TrialSuggested
from prefect_tune.engine.resume.callback_states import CallbackStates
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
#: Unless the user says otherwise, a snapshot is taken this often at most, in seconds ...
_EVERY_S = 10.0
#: ... and takes at most this share of the time.
_SHARE = 0.05
#: Finished trials that are written at a time.
_AT_ONCE = 200

T = TypeVar("T")


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
    is_logged: Callable[[], bool]


class Snapshots:
    """Takes snapshots now and then, and saves the states of callbacks with them.

    A snapshot counts on it that the results before it are in the result files: a resume looks for
    missing ones in what it replays. So it is written only when the loggers have got there.

    Args:
        position: Where the experiment stands.
        coordinator: The coordinator.
        stateful_parts: Everything else that decides.
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
        stateful_parts: StatefulParts,
        callbacks: CallbackStates,
        mark: Callable[[Callable[[Any], None]], Callable[[], bool]],
        search_can_save: Callable[[], bool] = lambda: True,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._position = position
        self._coordinator = coordinator
        self._stateful_parts = stateful_parts
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
        # Whether another one is due as soon as that is written.
        self._hurries = False
        self._cost = 0.0
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
                    self._position.stored.discard(event.trial_id)
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

    def forgo(self, reason: str) -> None:
        """Write no other snapshot: one would not be what a replay of the journal comes to.

        Args:
            reason: Why, for people.
        """
        if self._possible:
            _logger.info("There will be no snapshots: %s. A resume replays the journal.", reason)
        self._possible = False
        self._suggested.items.clear()
        self._tells.items.clear()

    # -- taking and writing -----------------------------------------------------------------------

    def step(self) -> None:
        """Between two batches of events: do what is to be done next, if it is time to."""
        begin = self._clock()
        if self._taken is not None:
            if not self._taken.is_logged():
                return
            self._write(self._taken)
            self._taken = None
            cost = self._cost + self._clock() - begin
            auto = max(_EVERY_S, cost / _SHARE)
            self._next = begin + (auto if self._every_s is None else self._every_s)
            if self._hurries:
                self._next, self._hurries = begin, False
            self._cost = 0.0
            return
        if begin < self._next:
            return
        # After a full replay there are many finished trials; nobody is to wait for all of them.
        if self._store(_AT_ONCE):
            head, body = self._take()
            self._taken = _Taken(head, body, self._mark(self._callbacks.collect))
        self._cost += self._clock() - begin

    def hurry(self) -> None:
        """Take the next one at once: whoever interrupts may not wait for the last."""
        self._next = self._clock()
        self._hurries = self._taken is not None

    def close(self) -> None:
        """Write a last one, once nobody is told anything any more."""
        self._callbacks.collect_all()
        self._store(None)
        head, body = self._take()
        self._write(_Taken(head, body, lambda: True))

    def _store(self, limit: int | None) -> bool:
        """Write some finished trials; True if none is left."""
        if not self._can_take:
            return True
        touched = list(itertools.islice(self._touched, limit))
        found = [self._coordinator.get_trial(trial_id) for trial_id in touched]
        trials = [trial for trial in found if trial is not None and trial.is_finished()]
        try:
            if trials:
                data = dump_state(trials, {}, lambda trial: False, self._large)
                self._position.files.add_trials(data)
        except StorageError as error:
            _logger.warning("%s", error)
        except Exception as error:
            # Whatever objects in a configuration or a result raise.
            self.forgo(f"a trial cannot be pickled ({error})")
        else:
            self._position.stored |= {trial.trial_id for trial in trials}
            for trial_id in touched:
                del self._touched[trial_id]
        return limit is None or len(touched) < limit

    @property
    def _large(self) -> LargeValues | None:
        return self._position.files.pickles.large

    @property
    def _can_take(self) -> bool:
        if not self._search_can_save():
            self.forgo("the state of the search cannot be saved")
        return self._possible and self._search_is_saved and self._coordinator.is_replayable

    def _take(self) -> tuple[SnapshotHead | None, bytes]:
        if not self._can_take:
            return None, b""
        stored = self._position.stored
        try:
            data = dump_state(
                self._body(),
                self._stateful_parts.names(self._coordinator),
                lambda trial: trial.trial_id in stored and trial.is_finished(),
                self._large,
            )
        except Exception as error:
            # Whatever the objects of a user's scheduler or stopper raise.
            self.forgo(f"the state of the experiment cannot be pickled ({error})")
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

    def _write(self, taken: _Taken) -> None:
        try:
            self._callbacks.save()
            if taken.head is not None:
                self._position.files.save(taken.head, taken.body)
        except StorageError as error:
            # The journal is what counts; if that cannot be written either, the sweep ends there.
            _logger.warning("%s", error)
