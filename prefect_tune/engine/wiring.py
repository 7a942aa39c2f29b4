"""Makes the parts of an experiment from its plan: observers, options, environment of attempts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.observers import Observers, OutputHub, StepListener
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location
from prefect_tune.logger.threads import Backlog
from prefect_tune.reporters import TrialOutputPrinter, make_reporter, make_result_printer
from prefect_tune.trainable.output import OutputFiles


def make_output_hub(plan: ExperimentPlan) -> OutputHub:
    """Make the hub that receives what the trials of a planned experiment print."""
    return OutputHub(TrialOutputPrinter(plan.trainable.name) if plan.shows_output else None)


def make_observers(
    plan: ExperimentPlan,
    listeners: Sequence[StepListener],
    backlog: Sequence[Backlog],
    open_checkpoint: Callable[[TrialCheckpoint], Any],
    output: OutputHub,
) -> Observers:
    """Make the observers of a planned experiment: its callbacks, loggers and reporter.

    Args:
        plan: The plan.
        listeners: Called after each batch of events.
        backlog: Results that loggers have not written yet.
        open_checkpoint: Turns a checkpoint's record into the object that callbacks are given.
        output: Receives what trials print.
    """
    total = plan.source.total()
    reporter = make_reporter(
        plan.run.verbose,
        plan.run.progress_reporter,
        metric=plan.metric,
        mode=plan.mode,
        start_time=time.time(),
        total_samples=total,
    )
    info: dict[str, Any] = {
        "stop": {} if plan.run.stop is None else plan.run.stop,
        "time_budget_s": plan.tune.time_budget_s,
        "num_samples": plan.tune.num_samples,
        "total_num_samples": total,
    }
    lines = make_result_printer(plan.run.verbose, plan.metric)
    callbacks = plan.callbacks if lines is None else [*plan.callbacks, lines]
    return Observers(
        callbacks,
        reporter,
        listeners,
        info,
        backlog,
        open_checkpoint,
        plan.scheduler.debug_string,
        output.show,
        plan.settings.log_callback_errors,
    )


def coordinator_options(
    plan: ExperimentPlan,
    directory: Path,
    storage: Location | None,
    restore_from: TrialCheckpoint | None,
) -> CoordinatorOptions:
    """Return the coordinator's options for a planned experiment.

    Args:
        plan: The plan.
        directory: The experiment directory.
        storage: The experiment's location in storage, if it has one beside its directory.
        restore_from: The checkpoint that every trial starts from, if any.
    """
    return CoordinatorOptions(
        trainable_name=plan.trainable.name,
        local_experiment_dir=str(directory),
        metrics=plan.checked_metrics,
        max_failures=plan.failure.max_failures,
        fail_fast=plan.fail_fast,
        lookahead=plan.settings.lookahead or plan.source.lookahead or 1,
        search_wants_results=plan.source.wants_results,
        max_running=plan.max_running,
        checkpoint_keep=plan.checkpoints.num_to_keep,
        checkpoint_score_attribute=plan.checkpoints.checkpoint_score_attribute,
        checkpoint_score_order=plan.checkpoints.checkpoint_score_order,
        saves_at_end=plan.checkpoint_rules.at_end,
        must_store=plan.sync_to_driver or storage is not None,
        restore_from=restore_from,
        max_lost=plan.settings.lost_before_failure,
        retry_delay_s=plan.settings.retry_delay_s,
        trial_time_limit_s=plan.trial_time_limit_s,
        stop_patience_s=0 if plan.one_by_one else plan.settings.stop_patience_s,
        cleanup_s=0 if plan.one_by_one else plan.settings.force_trial_cleanup_s,
        terms=plan.trial_terms,
    )


def experiment_env(
    plan: ExperimentPlan, directory: Path, storage: Location | None
) -> ExperimentEnv:
    """Return the executor's view of a planned experiment.

    Args:
        plan: The plan.
        directory: The experiment directory.
        storage: The experiment's location in storage, if it has one beside its directory.
    """
    return ExperimentEnv(
        experiment_id=plan.experiment_id,
        experiment_name=plan.name,
        trainable=plan.trainable,
        experiment_dir=str(directory),
        isolation=plan.run.isolation,
        start_method=plan.settings.start_method,
        seed=plan.tune.seed,
        stop_grace_s=plan.settings.stop_grace_s,
        lease_s=plan.settings.lease_s,
        preemption_grace_s=plan.settings.preemption_grace_s,
        gpu_memory_guard=plan.settings.gpu_memory_guard,
        env_vars={
            **plan.settings.trial_variables(plan.tune.chdir_to_trial_dir),
            **plan.run.env_vars,
        },
        storage=storage,
        checkpoint_rules=plan.checkpoint_rules,
        storage_timeout_s=plan.places.timeout_s,
        sync_to_driver=plan.sync_to_driver,
        sync_period_s=plan.places.period_s,
        reuse_processes=plan.reuse_processes,
        export_formats=plan.export_formats,
        output_files=OutputFiles.parse(plan.run.log_to_file),
        follow_output=plan.shows_output or plan.keeps_output_in_prefect,
    )
