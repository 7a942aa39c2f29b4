"""Makes the parts of an experiment from its setup: trials, observers, options, environment."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.coordinator.lifecycle import new_trial
from prefect_tune.coordinator.options import CoordinatorOptions, Retention
from prefect_tune.engine.observers import Observers, OutputHub, StepListener
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.error import InvalidArgument
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.logger.threads import Backlog
from prefect_tune.reporters import make_reporter, make_result_printer
from prefect_tune.resources import Resources
from prefect_tune.search.source import Suggestion
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.trainable.output import OutputFiles


def make_observers(
    setup: ExperimentSetup,
    listeners: Sequence[StepListener],
    backlog: Sequence[Backlog],
    open_checkpoint: Callable[[TrialCheckpoint], Any],
    output: OutputHub,
) -> Observers:
    """Make the observers of an experiment: its callbacks, loggers and reporter.

    Args:
        setup: The setup.
        listeners: Called after each batch of events.
        backlog: Results that loggers have not written yet.
        open_checkpoint: Turns a checkpoint's record into the object that callbacks are given.
        output: Receives what trials print.
    """
    total = setup.source.total()
    reporter = make_reporter(
        setup.run.verbose,
        setup.run.progress_reporter,
        metric=setup.metric,
        mode=setup.mode,
        start_time=time.time(),
        total_samples=total,
    )
    info: dict[str, Any] = {
        "stop": {} if setup.run.stop is None else setup.run.stop,
        "time_budget_s": setup.tune.time_budget_s,
        "num_samples": setup.tune.num_samples,
        "total_num_samples": total,
    }
    lines = make_result_printer(setup.run.verbose, setup.metric)
    callbacks = setup.callbacks if lines is None else [*setup.callbacks, lines]
    return Observers(
        callbacks,
        reporter,
        listeners,
        info,
        backlog,
        open_checkpoint,
        setup.scheduler.debug_string,
        output.show,
        setup.settings.log_callback_errors,
    )


def coordinator_options(
    setup: ExperimentSetup,
    directory: Path,
    storage: Location | None,
    restore_from: TrialCheckpoint | None,
) -> CoordinatorOptions:
    """Return the coordinator's options for an experiment.

    Args:
        setup: The setup.
        directory: The experiment directory.
        storage: The experiment's location in storage, if it has one beside its directory.
        restore_from: The checkpoint that every trial starts from, if any.
    """
    kept = setup.checkpoints
    return CoordinatorOptions(
        trainable_name=setup.trainable.name,
        local_experiment_dir=str(directory),
        metrics=setup.checked_metrics,
        max_failures=setup.failure.max_failures,
        fail_fast=setup.failure.fail_fast,
        lookahead=setup.settings.lookahead or setup.source.lookahead or 1,
        search_wants_results=setup.source.wants_results,
        max_running=setup.max_running,
        retention=Retention(
            kept.num_to_keep, kept.checkpoint_score_attribute, kept.checkpoint_score_order
        ),
        saves_at_end=setup.checkpoint_rules.at_end,
        must_store=setup.sync_to_driver or storage is not None,
        restore_from=restore_from,
        max_lost=setup.settings.lost_before_failure,
        retry_delay_s=setup.settings.retry_delay_s,
        trial_time_limit_s=setup.trial_time_limit_s,
        stop_patience_s=0 if setup.one_by_one else setup.settings.stop_patience_s,
        cleanup_s=0 if setup.one_by_one else setup.settings.force_trial_cleanup_s,
        terms=setup.trial_terms,
    )


def experiment_env(
    setup: ExperimentSetup, directory: Path, storage: Location | None
) -> ExperimentEnv:
    """Return the executor's view of an experiment.

    Args:
        setup: The setup.
        directory: The experiment directory.
        storage: The experiment's location in storage, if it has one beside its directory.
    """
    return ExperimentEnv(
        experiment_id=setup.experiment_id,
        experiment_name=setup.name,
        trainable=setup.trainable,
        experiment_dir=str(directory),
        isolation=setup.run.isolation,
        start_method=setup.settings.start_method,
        seed=setup.tune.seed,
        stop_grace_s=setup.settings.stop_grace_s,
        lease_s=setup.settings.lease_s,
        preemption_grace_s=setup.settings.preemption_grace_s,
        gpu_memory_guard=setup.settings.gpu_memory_guard,
        env_vars={
            **setup.settings.trial_variables(setup.tune.chdir_to_trial_dir),
            **setup.run.env_vars,
        },
        storage=storage,
        checkpoint_rules=setup.checkpoint_rules,
        storage_timeout_s=setup.places.timeout_s,
        sync_to_driver=setup.sync_to_driver,
        sync_period_s=setup.places.period_s,
        reuse_processes=bool(setup.tune.reuse_actors) and inspect.isclass(setup.request.trainable),
        export_formats=setup.export_formats,
        output_files=OutputFiles.parse(setup.run.log_to_file),
        follow_output=setup.shows_output or setup.keeps_output_in_prefect,
    )


@dataclass(frozen=True)
class TrialMaker:
    """Makes the event that adds a suggested trial; called in the search's thread.

    Attributes:
        options: The options of the coordinator.
        resources_for: Returns the resources of a trial with a given configuration.
        dir_namer: Chooses directory names that are safe and free.
        name_creator: The user's ``f(trial) -> str``, if any.
        dirname_creator: The user's ``f(trial) -> str``, if any.
    """

    options: CoordinatorOptions
    resources_for: Callable[[dict[str, Any]], Resources]
    dir_namer: TrialDirNamer
    name_creator: Callable[[Any], str] | None = None
    dirname_creator: Callable[[Any], str] | None = None

    def __call__(self, suggestion: Suggestion, time: float, told: int = 0) -> TrialSuggested:
        """Return the event that adds the suggested trial to the experiment.

        Args:
            suggestion: The suggestion.
            time: Seconds since the epoch.
            told: How many results and ends the search had been told before.
        """
        event = TrialSuggested(
            time,
            suggestion.trial_id,
            suggestion.config,
            suggestion.resolved,
            suggestion.experiment_tag,
            self.resources_for(suggestion.config),
            told=told,
        )
        trial = new_trial(event, self.options)
        if self.name_creator is not None:
            trial.custom_name = _call_creator(self.name_creator, trial, "trial_name_creator")
        custom_dir = None
        if self.dirname_creator is not None:
            custom_dir = _call_creator(self.dirname_creator, trial, "trial_dirname_creator")
        directory = self.dir_namer.name(trial, time, custom_dir)
        return replace(event, relative_logdir=directory, custom_name=trial.custom_name)


def _call_creator(creator: Callable[[Any], str], trial: Trial, argument: str) -> str:
    try:
        value = creator(trial)
    except Exception as error:
        raise InvalidArgument(
            argument, f"it raised {type(error).__name__} for {trial!r}: {error}."
        ) from error
    if not isinstance(value, str) or not value:
        raise InvalidArgument(argument, f"it returned {value!r}.", "It must return a string.")
    return value
