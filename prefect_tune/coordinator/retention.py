"""Decides which checkpoints are retained, and has all others deleted."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from prefect_tune.coordinator.commands import DeleteCheckpoint
from prefect_tune.coordinator.core import Core
from prefect_tune.coordinator.events import CheckpointsDropped
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.checkpoints import TrialCheckpoint, newest_usable
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import AUTO_FILLED, Trial
from prefect_tune.nested import flatten, unflattened_lookup

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules of retention, as in Ray Tune: retain the best checkpoints and the newest one.

    Attributes:
        keep: How many checkpoints of a trial are retained; None retains all.
        attribute: The metric that ranks checkpoints, nested with ``/``; None ranks by age.
        order: ``max`` or ``min``.
    """

    keep: int | None = None
    attribute: str | None = None
    order: str = "max"

    def surplus(
        self, checkpoints: Sequence[TrialCheckpoint], in_use: Container[str]
    ) -> tuple[str, ...]:
        """Return the paths of a trial's checkpoints that need not be retained.

        Args:
            checkpoints: All checkpoints of the trial, oldest first.
            in_use: Paths of the checkpoints that something refers to.
        """
        if self.keep is None or len(checkpoints) <= self.keep or self.lacks_score(checkpoints):
            return ()
        newest = newest_usable(checkpoints)
        # Worst first. The sort is stable, so of two equally good checkpoints the newer is retained.
        ranked = sorted(checkpoints, key=self._rank)
        return tuple(
            checkpoint.path
            for checkpoint in ranked[: len(ranked) - self.keep]
            if checkpoint is not newest and checkpoint.path not in in_use
        )

    def lacks_score(self, checkpoints: Sequence[TrialCheckpoint]) -> bool:
        """Return True if no checkpoint has the ranking metric: then none may be deleted."""
        name = self.attribute
        return name is not None and all(_lookup(c.metrics, name) is _MISSING for c in checkpoints)

    def _rank(self, checkpoint: TrialCheckpoint) -> tuple[bool, bool, float]:
        """Return a sort key; the better the checkpoint, the greater."""
        usable = not checkpoint.problem
        found = None if self.attribute is None else _lookup(checkpoint.metrics, self.attribute)
        score = number_of(found)
        if score is None or math.isnan(score):
            return usable, False, 0.0
        return usable, True, float(score) if self.order == "max" else -float(score)


def _lookup(metrics: Mapping[str, Any], name: str) -> Any:
    """Return a metric of a nested result by its flat name; `_MISSING` if there is none."""
    if name in metrics:
        return metrics[name]
    return unflattened_lookup(name, metrics, default=_MISSING)


#: How many of the newest deletions are repeated when an experiment is resumed.
_REPEATED = 256


class CheckpointRetention:
    """Drops the checkpoints of all trials that need not be retained.

    Args:
        core: The state of the coordinator.

    Attributes:
        dropped: ``(trial id, path)`` of the checkpoints dropped last: a crash may have come between
            their record and their deletion.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        options = core.options
        self._rules = Retention(
            options.checkpoint_keep,
            options.checkpoint_score_attribute,
            options.checkpoint_score_order,
        )
        self._has_warned = False
        self.dropped: deque[tuple[str, str]] = deque(maxlen=_REPEATED)

    def update(self, live: LiveTrial) -> None:
        """Drop checkpoints that a trial does not refer to any more, its own and borrowed ones."""
        if live.borrowed:
            held = live.starts()
            for path in [path for path in live.borrowed if path not in held]:
                self._release_borrowed(live, path)
        self.drop_surplus(live.trial)

    def release_all(self, live: LiveTrial) -> None:
        """Drop the checkpoints that are not needed any more because a trial has ended."""
        for path in list(live.borrowed):
            self._release_borrowed(live, path)
        self.drop_surplus(live.trial)

    def _release_borrowed(self, live: LiveTrial, path: str) -> None:
        lender = self._core.table.get(live.borrowed.pop(path))
        if lender is not None:
            self.drop_surplus(lender)

    def drop_surplus(self, trial: Trial) -> None:
        """Drop the checkpoints of a trial that need not be retained."""
        core = self._core
        keep = core.options.checkpoint_keep
        if keep is None or core.replaying or len(trial.checkpoints) <= keep:
            return
        if not self._has_warned and self._rules.lacks_score(trial.checkpoints):
            self._has_warned = True
            core.warn(trial, self._missing_score_text(trial))
        paths = self._rules.surplus(trial.checkpoints, self._in_use(trial))
        if paths:
            event = CheckpointsDropped(core.now, trial.trial_id, paths)
            core.recorder.record(event)
            self.drop(event)
            for path in paths:
                core.emit(DeleteCheckpoint(trial.trial_id, path))

    def _missing_score_text(self, trial: Trial) -> str:
        name = str(self._rules.attribute)
        reported = [key for key in flatten(trial.last_result) if key not in AUTO_FILLED]
        meant = get_close_matches(name, reported, n=1)
        hint = f"Did you mean {meant[0]!r}?" if meant else f"Reported are {sorted(reported)}."
        return (
            f"`checkpoint_score_attribute`: no checkpoint of {trial} has the metric {name!r}, so "
            f"none is the best, and all are kept until one has it. {hint}"
        )

    def _in_use(self, trial: Trial) -> set[str]:
        """Return the paths of checkpoints of a trial that any unfinished trial refers to."""
        used: set[str] = set()
        for live in self._core.table.unfinished():
            used.update(live.borrowed)
            if live.trial is trial:
                for checkpoint in (live.book.start(), live.start):
                    if checkpoint is not None:
                        used.add(checkpoint.path)
        return used

    def drop(self, event: CheckpointsDropped) -> None:
        """Remove dropped checkpoints from their trial's record."""
        table = self._core.table
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
            self._core.emit(DeleteCheckpoint(trial_id, path))

    def drop_all_surplus(self) -> None:
        """Drop checkpoints of all trials: a crash may have come before the record of a deletion."""
        table = self._core.table
        retired = [table[trial_id] for trial_id in table.retired]
        for trial in [*(live.trial for live in table.unfinished()), *retired]:
            self.drop_surplus(trial)
