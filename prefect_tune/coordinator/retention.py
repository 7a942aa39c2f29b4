"""Decides which checkpoints are retained, and has all others deleted."""

from __future__ import annotations

from collections import deque

from prefect_tune.coordinator.commands import DeleteCheckpoint
from prefect_tune.coordinator.events import CheckpointsDropped
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.error import did_you_mean
from prefect_tune.experiment.trial import AUTO_FILLED, Trial
from prefect_tune.nested import flatten

#: How many of the newest deletions are repeated when an experiment is resumed.
_REPEATED = 256


class CheckpointRetention:
    """Drops the checkpoints of all trials that need not be retained.

    Args:
        shared: The state of the coordinator.

    Attributes:
        dropped: ``(trial id, path)`` of the checkpoints dropped last: a crash may have come between
            their record and their deletion.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._has_warned = False
        self.dropped: deque[tuple[str, str]] = deque(maxlen=_REPEATED)

    def update(self, live: LiveTrial) -> None:
        """Drop checkpoints that a trial does not refer to any more, its own and borrowed ones."""
        if live.borrowed:
            held = set() if live.trial.is_finished() else live.starts()
            for path in [path for path in live.borrowed if path not in held]:
                lender = self._shared.table.get(live.borrowed.pop(path))
                if lender is not None:
                    self.drop_surplus(lender)
        self.drop_surplus(live.trial)

    def drop_surplus(self, trial: Trial) -> None:
        """Drop the checkpoints of a trial that need not be retained."""
        shared, rules = self._shared, self._shared.options.retention
        if shared.replaying or rules.keep is None or len(trial.checkpoints) <= rules.keep:
            return
        if not self._has_warned and rules.lacks_score(trial.checkpoints):
            self._has_warned = True
            shared.warn(trial, self._missing_score_text(trial))
        paths = rules.surplus(trial.checkpoints, self._in_use(trial))
        if paths:
            event = CheckpointsDropped(shared.now, trial.trial_id, paths)
            shared.recorder.record(event)
            self.drop(event)
            for path in paths:
                shared.emit(DeleteCheckpoint(trial.trial_id, path))

    def _missing_score_text(self, trial: Trial) -> str:
        name = str(self._shared.options.retention.attribute)
        reported = [key for key in flatten(trial.last_result) if key not in AUTO_FILLED]
        hint = did_you_mean(name, reported) or f"Reported are {sorted(reported)}."
        return (
            f"`checkpoint_score_attribute`: no checkpoint of {trial} has the metric {name!r}, so "
            f"none is the best, and all are kept until one has it. {hint}"
        )

    def _in_use(self, trial: Trial) -> set[str]:
        """Return the paths of checkpoints of a trial that any unfinished trial refers to."""
        used: set[str] = set()
        for live in self._shared.table.unfinished():
            used.update(live.borrowed)
            if live.trial is trial:
                for checkpoint in (live.book.start(), live.start):
                    if checkpoint is not None:
                        used.add(checkpoint.path)
        return used

    def drop(self, event: CheckpointsDropped) -> None:
        """Remove dropped checkpoints from their trial's record."""
        table = self._shared.table
        trial = table.get(event.trial_id)
        if trial is None:
            return
        trial.checkpoints = tuple(c for c in trial.checkpoints if c.path not in event.paths)
        self.dropped.extend((event.trial_id, path) for path in event.paths)
        if trial.is_finished():
            trial.compact()

    def repeat_deletions(self) -> None:
        """Repeat the last deletions: a crash may have come between a record and its deletion."""
        for trial_id, path in self.dropped:
            self._shared.emit(DeleteCheckpoint(trial_id, path))

    def drop_all_surplus(self) -> None:
        """Drop checkpoints of all trials: a crash may have come before the record of a deletion."""
        table = self._shared.table
        retired = [table[trial_id] for trial_id in table.retired]
        for trial in [*(live.trial for live in table.unfinished()), *retired]:
            self.drop_surplus(trial)
