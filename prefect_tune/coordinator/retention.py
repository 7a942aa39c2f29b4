"""Keeps the checkpoints that are wanted or in use, and has the others deleted."""

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
from prefect_tune.coordinator.trial_checkpoints import _MISSING, newest_usable
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import AUTO_FILLED, Trial
from prefect_tune.nested import flatten


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints of a trial are kept, as in Ray Tune: the best, and the newest besides.

    Attributes:
        keep: How many; None keeps all.
        attribute: The metric that ranks them, nested ones with ``/``; None ranks by age.
        order: ``max`` or ``min``.
    """

    keep: int | None = None
    attribute: str | None = None
    order: str = "max"

    def surplus(
        self, checkpoints: Sequence[TrialCheckpoint], in_use: Container[str]
    ) -> tuple[str, ...]:
        """Paths of those that need not be kept.

        Args:
            checkpoints: All of a trial, oldest first.
            in_use: Paths of those that something refers to.
        """
        if self.keep is None or len(checkpoints) <= self.keep or self.lacks_score(checkpoints):
            return ()
        newest = newest_usable(checkpoints)
        # Worst first. The sort is stable: of two that are equally good, the newer one is kept.
        ranked = sorted(checkpoints, key=self._rank)
        return tuple(
            checkpoint.path
            for checkpoint in ranked[: len(ranked) - self.keep]
            if checkpoint is not newest and checkpoint.path not in in_use
        )

    def lacks_score(self, checkpoints: Sequence[TrialCheckpoint]) -> bool:
        """True if none of them has what ranks them: its name may be wrong, so none is deleted."""
        name = self.attribute
        return name is not None and all(_lookup(c.metrics, name) is _MISSING for c in checkpoints)

    def _rank(self, checkpoint: TrialCheckpoint) -> tuple[bool, bool, float]:
        """Comparable; more is better."""
        usable = not checkpoint.problem
        found = None if self.attribute is None else _lookup(checkpoint.metrics, self.attribute)
        score = number_of(found)
        if score is None or math.isnan(score):
            return usable, False, 0.0
        return usable, True, float(score) if self.order == "max" else -float(score)


def _lookup(metrics: Mapping[str, Any], name: str) -> Any:
    """A metric by its flat name, in a nested result; `_MISSING` if it is not there."""
    if name in metrics:
        return metrics[name]
    value: Any = metrics
    for key in name.split("/"):
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


#: How many of the newest deletions are repeated when an experiment is resumed.
_REPEATED = 256


class CheckpointRetention:
    """Applies the rules of retention over all trials.

    Args:
        core: The state of the coordinator.

    Attributes:
        dropped: ``(trial id, path)`` of what was dropped last: a crash may have come between the
            record and the deletion.
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
        """What a trial refers to may have changed: drop what is free now."""
        if live.borrowed:
            redirect = live.redirect
            held = {None if c is None else c.path for c in (live.book.adopted, live.start)}
            if redirect is not None and redirect.checkpoint is not None:
                held.add(redirect.checkpoint.path)
            for path in [path for path in live.borrowed if path not in held]:
                self._give_back(live, path)
        self.tidy(live.trial)

    def retired(self, live: LiveTrial) -> None:
        """A trial has come to its end."""
        for path in list(live.borrowed):
            self._give_back(live, path)
        self.tidy(live.trial)

    def _give_back(self, live: LiveTrial, path: str) -> None:
        lender = self._core.table.get(live.borrowed.pop(path))
        if lender is not None:
            self.tidy(lender)

    def tidy(self, trial: Trial) -> None:
        """Drop what need not be kept of a trial's checkpoints."""
        core = self._core
        keep = core.options.checkpoint_keep
        if keep is None or core.replaying or len(trial.checkpoints) <= keep:
            return
        if not self._has_warned and self._rules.lacks_score(trial.checkpoints):
            self._has_warned = True
            core.warn(trial, self._unranked(trial))
        paths = self._rules.surplus(trial.checkpoints, self._in_use(trial))
        if paths:
            event = CheckpointsDropped(core.now, trial.trial_id, paths)
            core.recorder.record(event)
            self.drop(event)
            for path in paths:
                core.emit(DeleteCheckpoint(trial.trial_id, path))

    def _unranked(self, trial: Trial) -> str:
        name = str(self._rules.attribute)
        reported = [key for key in flatten(trial.last_result) if key not in AUTO_FILLED]
        meant = get_close_matches(name, reported, n=1)
        hint = f"Did you mean {meant[0]!r}?" if meant else f"Reported are {sorted(reported)}."
        return (
            f"`checkpoint_score_attribute`: no checkpoint of {trial} has the metric {name!r}, so "
            f"none is the best, and all are kept until one has it. {hint}"
        )

    def _in_use(self, trial: Trial) -> set[str]:
        """Paths of what any unfinished trial refers to."""
        used: set[str] = set()
        for live in (*self._core.table.lives(), *self._core.table.aside()):
            used.update(live.borrowed)
            if live.trial is trial:
                for checkpoint in (live.book.start(), live.start):
                    if checkpoint is not None:
                        used.add(checkpoint.path)
        return used

    def drop(self, event: CheckpointsDropped) -> None:
        """Forget checkpoints that are deleted."""
        table = self._core.table
        trial = table.get(event.trial_id)
        if trial is None:
            return
        trial.checkpoints = tuple(c for c in trial.checkpoints if c.path not in event.paths)
        self.dropped.extend((event.trial_id, path) for path in event.paths)
        if trial.is_finished():
            trial.compact()

    def repeat_deletions(self) -> None:
        """After a crash: it may have come between the record of a deletion and the deletion."""
        for trial_id, path in self.dropped:
            self._core.emit(DeleteCheckpoint(trial_id, path))

    def tidy_all(self) -> None:
        """After a crash: it may have come before the record of a deletion."""
        core = self._core
        trials = [live.trial for live in (*core.table.lives(), *core.table.aside())]
        for trial_id in core.table.retired:
            trial = core.table.get(trial_id)
            if trial is not None:
                trials.append(trial)
        for trial in trials:
            self.tidy(trial)
