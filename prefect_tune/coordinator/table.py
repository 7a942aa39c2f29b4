"""All trials of an experiment, in order, with the live ones at hand."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from prefect_tune.coordinator.events import AttemptEnded, TrialRedirected
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.trial_checkpoints import CheckpointBook
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial

_REMEMBERED = 256
_WAITING = (PENDING, PAUSED)


class LiveTrial:
    """What is only known while a trial is not finished.

    Attributes:
        trial: The trial.
        book: What it can go on from.
        slot: What the running attempt holds, None if none runs.
        node: Where its newest attempt ran.
        start: The checkpoint that its newest attempt went on from.
        last_seq: Sequence number of the newest report of the running attempt.
        stop_reason: Why the attempt was told to stop, "" if it was not.
        completed: True once scheduler and search were told that the trial is complete.
        interrupted: True if the attempt ends only because the whole sweep is interrupted.
        ending: How its newest attempt has ended, as long as checkpoints of it are on their way.
        uploads: How many.
        redirect: What it is to go on from, and with which configuration, once its attempt has
            ended.
        borrowed: Paths of other trials' checkpoints that it refers to, each with that trial's id.
        setbacks: Attempts that failed or were lost since its last new checkpoint.
        lost: How many of them were not its own fault.
        since: When its running attempt was launched, None if none runs.
        ran: Seconds that its earlier attempts have run.
        overdue: True if its newest attempt was ended because that was too long.
        closing: The iteration of its last result, if it had come to its end but for its last
            checkpoint: an attempt that writes that once more ends there.
        standstill: Times in a row that it was paused without a new checkpoint to go on from.
    """

    __slots__ = (
        "book",
        "borrowed",
        "closing",
        "completed",
        "ending",
        "interrupted",
        "last_seq",
        "lost",
        "node",
        "overdue",
        "ran",
        "redirect",
        "setbacks",
        "since",
        "slot",
        "standstill",
        "start",
        "stop_reason",
        "trial",
        "uploads",
    )

    def __init__(self, trial: Trial, origin: TrialCheckpoint | None = None) -> None:
        self.trial = trial
        self.book = CheckpointBook(trial, origin)
        self.slot: Slot | None = None
        self.node = ""
        self.start: TrialCheckpoint | None = None
        self.last_seq = 0
        self.stop_reason = ""
        self.completed = False
        self.interrupted = False
        self.ending: AttemptEnded | None = None
        self.uploads = 0
        self.redirect: TrialRedirected | None = None
        self.borrowed: dict[str, str] = {}
        self.setbacks = 0
        self.lost = 0
        self.since: float | None = None
        self.ran = 0.0
        self.overdue = False
        self.standstill = 0
        self.closing: int | None = None

    def time_run(self, now: float) -> float:
        """Seconds that its attempts have run by `now`."""
        return self.ran if self.since is None else self.ran + max(0.0, now - self.since)

    @property
    def waits_again(self) -> bool:
        """True if it has run, waits for another attempt, and owes no checkpoint: a stop ends it."""
        trial = self.trial
        return trial.status == PENDING and trial.attempt > 0 and self.closing is None


class TrialTable:
    """Trials by id; finished ones are kept compact.

    Attributes:
        running: How many attempts hold a slot.
        uploading: How many attempts have ended but for their uploads.
        retired: Ids of the trials that have finished last.
    """

    def __init__(self) -> None:
        self._all: dict[str, Trial] = {}
        self._live: dict[str, LiveTrial] = {}
        self._aside: dict[str, LiveTrial] = {}
        # Those of the live trials that wait for a slot, and the places of all in the queue.
        self._waiting: dict[str, LiveTrial] = {}
        self._places: dict[str, int] = {}
        self._place = itertools.count()
        self.retired: deque[str] = deque(maxlen=_REMEMBERED)
        self.running = 0
        self.uploading = 0

    # -- live trials ------------------------------------------------------------------------------

    def add(self, trial: Trial, origin: TrialCheckpoint | None = None) -> LiveTrial:
        """Add a new pending trial, which starts from `origin`."""
        self._all[trial.trial_id] = trial
        return self.revive(trial, origin)

    def requeue(self, live: LiveTrial) -> None:
        """Move a trial to the end of the queue of those that wait."""
        self._leave(live)
        self._enter(live)

    def set_aside(self, live: LiveTrial) -> None:
        """Leave an unfinished trial out until `bring_back`."""
        self._leave(live)
        self._aside[live.trial.trial_id] = live

    def bring_back(self) -> list[LiveTrial]:
        """Put what was set aside to the end of the queue; returns it."""
        back = list(self._aside.values())
        self._aside.clear()
        for live in back:
            self._enter(live)
        return back

    def set_status(self, live: LiveTrial, status: str) -> None:
        """Change the status of a live trial."""
        live.trial.status = status
        if status in _WAITING:
            self._waiting[live.trial.trial_id] = live
        else:
            self._waiting.pop(live.trial.trial_id, None)

    def _enter(self, live: LiveTrial) -> None:
        """Put a trial to the end of the queue."""
        trial_id = live.trial.trial_id
        self._live[trial_id] = live
        self._places[trial_id] = next(self._place)
        self.set_status(live, live.trial.status)

    def _leave(self, live: LiveTrial) -> None:
        trial_id = live.trial.trial_id
        del self._live[trial_id], self._places[trial_id]
        self._waiting.pop(trial_id, None)

    def live(self, trial_id: str) -> LiveTrial | None:
        """The live entry of a trial, None once it is finished."""
        return self._live.get(trial_id)

    def current(self, trial_id: str, attempt: int) -> LiveTrial | None:
        """The entry of a running attempt; None fences off a stale one."""
        live = self._live.get(trial_id)
        if live is None or live.trial.attempt != attempt or live.slot is None:
            return None
        return live

    def lives(self) -> list[LiveTrial]:
        """All live entries, in queue order."""
        return list(self._live.values())

    def aside(self) -> list[LiveTrial]:
        """What is set aside."""
        return list(self._aside.values())

    # -- finished trials --------------------------------------------------------------------------

    def retire(self, live: LiveTrial) -> None:
        """Forget what only a live trial needs."""
        live.trial.compact()
        self._leave(live)
        self.retired.append(live.trial.trial_id)

    def revive(self, trial: Trial, origin: TrialCheckpoint | None = None) -> LiveTrial:
        """Put a finished trial to the end of the queue."""
        live = LiveTrial(trial, origin)
        self._enter(live)
        return live

    # -- all --------------------------------------------------------------------------------------

    def get(self, trial_id: str) -> Trial | None:
        """A trial by id."""
        return self._all.get(trial_id)

    def trials(self) -> list[Trial]:
        """All trials in order of creation."""
        return list(self._all.values())

    def waiting(self) -> list[LiveTrial]:
        """Entries of pending and paused trials, in queue order."""
        waiting = self._waiting
        if len(waiting) < 2:
            return list(waiting.values())
        return [waiting[trial_id] for trial_id in sorted(waiting, key=self._places.__getitem__)]

    def count_pending(self) -> int:
        """How many trials wait for their first or next slot."""
        return sum([entry.trial.status == PENDING for entry in self._waiting.values()])

    @property
    def has_waiting(self) -> bool:
        """Whether any trial waits for a slot."""
        return bool(self._waiting)

    def slots(self) -> list[Slot]:
        """Reservations of the running attempts."""
        return [entry.slot for entry in self._live.values() if entry.slot is not None]

    def running_trials(self) -> list[LiveTrial]:
        """Entries with a running attempt, or one that has ended but for its uploads."""
        return [entry for entry in self._live.values() if entry.trial.status == RUNNING]

    def uploading_trials(self) -> list[LiveTrial]:
        """Entries whose newest attempt has ended but for its uploads."""
        if not self.uploading:
            return []
        return [entry for entry in self._live.values() if entry.ending is not None]

    def load(
        self,
        trials: Iterable[Trial],
        live: Iterable[LiveTrial],
        aside: Iterable[LiveTrial],
        retired: Iterable[str],
    ) -> None:
        """Replace everything.

        Args:
            trials: All trials, in order of creation.
            live: The live ones among them, in queue order.
            aside: What is set aside.
            retired: Ids of those that have finished last.
        """
        self._all = {trial.trial_id: trial for trial in trials}
        for known in self.lives():
            self._leave(known)
        for entry in live:
            self._enter(entry)
        self._aside = {entry.trial.trial_id: entry for entry in aside}
        self.retired.clear()
        self.retired.extend(retired)
        self.running = len(self.slots())
        self.uploading = sum(entry.ending is not None for entry in self._live.values())

    def __len__(self) -> int:
        return len(self._all)


@dataclass
class CoordinatorState:
    """What a coordinator knows, and a replay of its records would.

    It shares its parts with the coordinator: pickle it before the next event is handled. Trials are
    referred to from several places, so it has to be one pickle. A finished trial changes only where
    a `Resumed` event runs it once more, or a `CheckpointsDropped` record names it: whoever writes
    finished trials elsewhere need not write them again.

    Attributes:
        trials: All trials, in order of creation.
        live: What else is known of the unfinished ones, in queue order.
        aside: The same of those that were left out by the last resume.
        retired: Ids of those that have finished last, in that order.
        dropped: ``(trial id, path)`` of the checkpoints that were dropped last.
    """

    trials: list[Trial] = field(default_factory=list)
    live: list[LiveTrial] = field(default_factory=list)
    aside: list[LiveTrial] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)


def portable(live: LiveTrial) -> LiveTrial:
    """An entry without what depends on the cluster: a replay knows nothing of nodes."""
    entry = copy.copy(live)
    entry.node = ""
    if entry.slot is not None:
        entry.slot = Slot("", entry.slot.resources)
    return entry
