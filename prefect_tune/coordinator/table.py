"""The table of all trials of an experiment, and what is known of unfinished ones only."""

from __future__ import annotations

import copy
import itertools
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from prefect_tune.coordinator.events import AttemptEnded, TrialRedirected
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.trial_checkpoints import CheckpointBook
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial

_REMEMBERED = 256
_WAITING = (PENDING, PAUSED)


@dataclass(slots=True, eq=False, repr=False)
class LiveTrial:
    """The entry of an unfinished trial: what is only needed until the trial ends.

    Attributes:
        trial: The trial.
        book: The checkpoints from which it can go on.
        slot: The slot of the running attempt, None if none runs.
        node: Address of the node of its newest attempt.
        start: The checkpoint that its newest attempt started from.
        last_seq: Sequence number of the newest report of the running attempt.
        stop_reason: Why the attempt was told to stop, "" if it was not.
        completed: True once scheduler and search were told that the trial is complete.
        interrupted: True if the attempt ends only because the whole sweep is interrupted.
        ending: The end of its newest attempt while checkpoints of it are still being uploaded.
        uploads: How many checkpoints these are.
        redirect: The scheduler's change of checkpoint, configuration or resources, which takes
            effect once the running attempt has ended.
        borrowed: Paths of other trials' checkpoints that it refers to, each with that trial's id.
        setbacks: Attempts that failed or were lost since its last new checkpoint.
        lost: How many of them were lost with their nodes.
        since: When its running attempt was launched, None if none runs.
        ran: Seconds that its earlier attempts have run.
        overdue: True if its newest attempt was ended because of the time limit.
        closing: The iteration of its last result, if only its last checkpoint is missing: the next
            attempt runs up to that iteration, writes the checkpoint again, and ends.
        standstill: How many times in a row it was paused without a new checkpoint.
    """

    trial: Trial
    book: CheckpointBook
    slot: Slot | None = None
    node: str = ""
    start: TrialCheckpoint | None = None
    last_seq: int = 0
    stop_reason: str = ""
    completed: bool = False
    interrupted: bool = False
    ending: AttemptEnded | None = None
    uploads: int = 0
    redirect: TrialRedirected | None = None
    borrowed: dict[str, str] = field(default_factory=dict)
    setbacks: int = 0
    lost: int = 0
    since: float | None = None
    ran: float = 0.0
    overdue: bool = False
    closing: int | None = None
    standstill: int = 0

    def time_run(self, now: float) -> float:
        """Return the seconds that all attempts of the trial have run by `now`."""
        return self.ran if self.since is None else self.ran + max(0.0, now - self.since)

    def starts(self) -> set[str]:
        """Return the paths of checkpoints that attempts start from: this one, adopted ones."""
        redirected = None if self.redirect is None else self.redirect.checkpoint
        found = (self.start, self.book.adopted, redirected)
        return {checkpoint.path for checkpoint in found if checkpoint is not None}

    @property
    def waits_again(self) -> bool:
        """True if a stop ends the trial: it has run, waits again, and lacks no last checkpoint."""
        trial = self.trial
        return trial.status == PENDING and trial.attempt > 0 and self.closing is None


class TrialTable:
    """All trials by id, and the entries of unfinished ones; finished ones take less memory.

    Attributes:
        running: How many attempts hold a slot.
        uploading: How many attempts have ended except for their uploads.
        retired: Ids of the trials that have finished last.
    """

    def __init__(self) -> None:
        self._all: dict[str, Trial] = {}
        self._live: dict[str, LiveTrial] = {}
        self._aside: dict[str, LiveTrial] = {}
        # The queue positions of all entries; those of the trials that wait for a slot, ascending,
        # and these entries.
        self._places: dict[str, int] = {}
        self._place = itertools.count()
        self._queue: list[int] = []
        self._waiting: list[LiveTrial] = []
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
        """Take an unfinished trial out of the queue until `requeue_set_aside` is called."""
        self._leave(live)
        self._aside[live.trial.trial_id] = live

    def requeue_set_aside(self) -> list[LiveTrial]:
        """Put the trials that were set aside at the end of the queue, and return their entries."""
        back = list(self._aside.values())
        self._aside.clear()
        for live in back:
            self._enter(live)
        return back

    def set_status(self, live: LiveTrial, status: str) -> None:
        """Change the status of a live trial."""
        live.trial.status = status
        self._set_waiting(live, status in _WAITING)

    def _set_waiting(self, live: LiveTrial, waits: bool) -> None:
        place = self._places[live.trial.trial_id]
        index = bisect_left(self._queue, place)
        if (self._queue[index : index + 1] == [place]) == waits:
            return
        if waits:
            self._queue.insert(index, place)
            self._waiting.insert(index, live)
        else:
            del self._queue[index], self._waiting[index]

    def _enter(self, live: LiveTrial) -> None:
        """Put a trial at the end of the queue."""
        trial_id = live.trial.trial_id
        self._live[trial_id] = live
        self._places[trial_id] = next(self._place)
        self.set_status(live, live.trial.status)

    def _leave(self, live: LiveTrial) -> None:
        trial_id = live.trial.trial_id
        self._set_waiting(live, False)
        del self._live[trial_id], self._places[trial_id]

    def live(self, trial_id: str) -> LiveTrial | None:
        """Return the entry of an unfinished trial; None if it is finished."""
        return self._live.get(trial_id)

    def current(self, trial_id: str, attempt: int) -> LiveTrial | None:
        """Return the entry of a running attempt; None if the attempt is not the current one."""
        live = self._live.get(trial_id)
        if live is None or live.trial.attempt != attempt or live.slot is None:
            return None
        return live

    def live_entries(self) -> list[LiveTrial]:
        """Return the entries of all unfinished trials, in queue order."""
        return list(self._live.values())

    def unfinished(self) -> list[LiveTrial]:
        """Return the entries of all unfinished trials, those that were set aside last."""
        return [*self._live.values(), *self._aside.values()]

    def set_aside_entries(self) -> list[LiveTrial]:
        """Return the entries of the trials that were set aside."""
        return list(self._aside.values())

    # -- finished trials --------------------------------------------------------------------------

    def retire(self, live: LiveTrial) -> None:
        """Remove the entry of a trial that has finished, and compact the trial."""
        live.trial.compact()
        self._leave(live)
        self.retired.append(live.trial.trial_id)

    def revive(self, trial: Trial, origin: TrialCheckpoint | None = None) -> LiveTrial:
        """Make a new entry for a finished trial, at the end of the queue."""
        live = LiveTrial(trial, CheckpointBook(trial, origin))
        self._enter(live)
        return live

    # -- all --------------------------------------------------------------------------------------

    def get(self, trial_id: str) -> Trial | None:
        """Return the trial with the given id; None if there is none."""
        return self._all.get(trial_id)

    def __getitem__(self, trial_id: str) -> Trial:
        return self._all[trial_id]

    def trials(self) -> list[Trial]:
        """Return all trials in order of creation."""
        return list(self._all.values())

    def waiting(self) -> list[LiveTrial]:
        """Return the entries of pending and paused trials, in queue order."""
        return list(self._waiting)

    def closing(self) -> list[LiveTrial]:
        """Return the entries of waiting trials that only lack their last checkpoint."""
        return [live for live in self._waiting if live.closing is not None]

    def count_pending(self) -> int:
        """Return the number of pending trials."""
        return sum([entry.trial.status == PENDING for entry in self._waiting])

    @property
    def has_waiting(self) -> bool:
        """Whether any trial waits for a slot."""
        return bool(self._waiting)

    def slots(self) -> list[Slot]:
        """Return the slots of the running attempts."""
        return [entry.slot for entry in self._live.values() if entry.slot is not None]

    def running_trials(self) -> list[LiveTrial]:
        """Return the entries with an attempt that runs or has ended except for its uploads."""
        return [entry for entry in self._live.values() if entry.trial.status == RUNNING]

    def uploading_trials(self) -> list[LiveTrial]:
        """Return the entries whose newest attempt has ended except for its uploads."""
        if not self.uploading:
            return []
        return [entry for entry in self._live.values() if entry.ending is not None]

    def load(self, state: CoordinatorState) -> None:
        """Replace the content of the table by that of a snapshot."""
        self._all = {trial.trial_id: trial for trial in state.trials}
        for known in self.live_entries():
            self._leave(known)
        for entry in state.live:
            self._enter(entry)
        self._aside = {entry.trial.trial_id: entry for entry in state.aside}
        self.retired.clear()
        self.retired.extend(state.retired)
        self.running = len(self.slots())
        self.uploading = sum(entry.ending is not None for entry in self._live.values())

    def __len__(self) -> int:
        return len(self._all)


@dataclass
class CoordinatorState:
    """The state of a coordinator for a snapshot.

    It shares its objects with the coordinator, so it has to be pickled before the next event is
    handled; and as one pickle, because several objects refer to a trial. A finished trial changes
    only if a `Resumed` event runs it again or a `CheckpointsDropped` event names it; otherwise a
    trial that was written elsewhere need not be written again.

    Attributes:
        trials: All trials, in order of creation.
        live: The entries of unfinished trials, in queue order.
        aside: The entries of the trials that the last resume has set aside.
        retired: Ids of the trials that have finished last, in that order.
        dropped: ``(trial id, path)`` of the checkpoints that were dropped last.
    """

    trials: list[Trial] = field(default_factory=list)
    live: list[LiveTrial] = field(default_factory=list)
    aside: list[LiveTrial] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)


def portable(live: LiveTrial) -> LiveTrial:
    """Return a copy of an entry without its node and devices, which a replay does not know."""
    entry = copy.copy(live)
    entry.node = ""
    if entry.slot is not None:
        entry.slot = Slot("", entry.slot.resources)
    return entry
