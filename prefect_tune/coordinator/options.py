"""The options of the coordinator: metrics, failures, checkpoints and time limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import TrialTerms


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
        checkpoint_keep: How many checkpoints of each trial are retained, the best ones; the newest
            is retained besides, as in Ray Tune, and so is each that something refers to. None
            retains all.
        checkpoint_score_attribute: The metric that ranks checkpoints, nested ones with ``/``; a
            checkpoint without it, or with NaN, ranks worst. None ranks by age, the newest best.
        checkpoint_score_order: ``max`` or ``min``.
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
    checkpoint_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    saves_at_end: bool = False
    must_store: bool = True
    restore_from: TrialCheckpoint | None = None
    max_lost: int = 10
    retry_delay_s: float = 0.0
    trial_time_limit_s: float | None = None
    stop_patience_s: float = 60.0
    cleanup_s: float = 600.0
    terms: TrialTerms = field(default_factory=TrialTerms)
