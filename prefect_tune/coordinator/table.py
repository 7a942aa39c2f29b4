"""All trials of an experiment, in order, with the live ones at hand."""

from __future__ import annotations

from prefect_tune.coordinator.placement import Slot
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial


class LiveTrial:
    """What is only known while a trial is not finished.

    Attributes:
        trial: The trial.
        slot: What the running attempt holds, None if none runs.
        last_seq: Sequence number of the newest report of the running attempt.
        stop_reason: Why the attempt was told to stop, "" if it was not.
        completed: True once scheduler and search were told that the trial is complete.
        interrupted: True if the attempt ends only because the whole sweep is interrupted.
    """

    __slots__ = ("completed", "interrupted", "last_seq", "slot", "stop_reason", "trial")

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.slot: Slot | None = None
        self.last_seq = 0
        self.stop_reason = ""
        self.completed = False
        self.interrupted = False


class TrialTable:
    """Trials by id; finished ones are kept compact."""

    def __init__(self) -> None:
        self._all: dict[str, Trial] = {}
        self._live: dict[str, LiveTrial] = {}
        self.running = 0

    def add(self, trial: Trial) -> LiveTrial:
        """Add a new pending trial."""
        self._all[trial.trial_id] = trial
        live = self._live[trial.trial_id] = LiveTrial(trial)
        return live

    def requeue(self, live: LiveTrial) -> None:
        """Move a trial to the end of the queue of those that wait."""
        trial_id = live.trial.trial_id
        self._live[trial_id] = self._live.pop(trial_id)

    def retire(self, live: LiveTrial) -> None:
        """Forget what only a live trial needs."""
        live.trial.compact()
        del self._live[live.trial.trial_id]

    def live(self, trial_id: str) -> LiveTrial | None:
        """The live entry of a trial, None once it is finished."""
        return self._live.get(trial_id)

    def lives(self) -> list[LiveTrial]:
        """All live entries, in queue order."""
        return list(self._live.values())

    def get(self, trial_id: str) -> Trial | None:
        """A trial by id."""
        return self._all.get(trial_id)

    def trials(self) -> list[Trial]:
        """All trials in order of creation."""
        return list(self._all.values())

    def waiting(self) -> list[Trial]:
        """Pending and paused trials, in queue order."""
        return [e.trial for e in self._live.values() if e.trial.status in (PENDING, PAUSED)]

    def count_pending(self) -> int:
        """How many trials wait for their first or next slot."""
        return sum(1 for e in self._live.values() if e.trial.status == PENDING)

    def slots(self) -> list[Slot]:
        """Reservations of the running attempts."""
        return [entry.slot for entry in self._live.values() if entry.slot is not None]

    def running_trials(self) -> list[LiveTrial]:
        """Entries with a running attempt."""
        return [entry for entry in self._live.values() if entry.trial.status == RUNNING]

    def __len__(self) -> int:
        return len(self._all)
