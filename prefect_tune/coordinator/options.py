"""The options of the coordinator: metrics, failures, checkpoints and time limits."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.experiment.checkpoints import TrialCheckpoint, newest_usable
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import TrialTerms
from prefect_tune.nested import unflattened_lookup

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


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """The options of the coordinator of one experiment.

    Attributes:
        trainable_name: Name of the trainable, the first part of every trial's name.
        local_experiment_dir: The experiment directory, "" if nothing is written.
        metrics: Metrics that must be a number in each result with metrics of the user's own
            (strict metric checking); empty to check none.
        max_failures: Retries of a failed trial; -1 has no limit.
        fail_fast: True stops all other trials when the first one has failed; ``"raise"`` raises its
            own exception at once.
        lookahead: How many trials may wait for a slot.
        search_wants_results: False if the search ignores intermediate results.
        max_running: How many trials may run at a time, whatever the resources; None has no limit.
        retention: Which checkpoints are retained, besides each that something refers to.
        saves_at_end: Whether trials write a checkpoint when they are stopped at a report.
        must_store: Whether a trial has ended only when its last checkpoint is in storage; False
            where the user has said that checkpoints stay on their nodes.
        restore_from: The checkpoint outside of the experiment that each trial starts from, if any.
        max_lost: Attempts in a row, counted since the trial's last new checkpoint, that may be lost
            with their node or because storage does not answer. Each further one counts as the
            trial's own failure: a trial that kills its node must not do so for ever.
        retry_delay_s: Seconds before a trial whose attempt failed is tried again; doubled with each
            further failure since its last new checkpoint, up to 300; 0 tries again at once.
        trial_time_limit_s: Seconds for which a trial may run, over all its attempts; None has no
            limit.
        stop_patience_s: Seconds that a trial may take to its next report after it was told to
            stop, before it is ended by force; 0 waits for ever.
        cleanup_s: Seconds that a trial which was stopped at a report may take to clean up, before
            it is ended by force; 0 waits for ever.
        terms: The arguments that users can read from trials; the coordinator does not use them.
    """

    trainable_name: str = "trainable"
    local_experiment_dir: str = ""
    metrics: tuple[str, ...] = ()
    max_failures: int = 0
    fail_fast: bool | str = False
    lookahead: int = 1
    search_wants_results: bool = True
    max_running: int | None = None
    retention: Retention = Retention()
    saves_at_end: bool = False
    must_store: bool = True
    restore_from: TrialCheckpoint | None = None
    max_lost: int = 10
    retry_delay_s: float = 0.0
    trial_time_limit_s: float | None = None
    stop_patience_s: float = 60.0
    cleanup_s: float = 600.0
    terms: TrialTerms = field(default_factory=TrialTerms)
