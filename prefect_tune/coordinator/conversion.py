"""From an event to a trial, and from a trial to the command that starts it."""

from __future__ import annotations

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.placement import Slot
from prefect_tune.experiment.checkpoints import NO_PROGRESS, TrialCheckpoint
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.experiment.trial import Trial


def new_trial(event: TrialSuggested, options: CoordinatorOptions) -> Trial:
    """The record of a trial that was suggested."""
    return Trial(
        event.trial_id,
        event.config,
        trainable_name=options.trainable_name,
        evaluated_params=event.resolved,
        experiment_tag=event.experiment_tag,
        resources=event.resources,
        relative_logdir=event.relative_logdir,
        local_experiment_dir=options.local_experiment_dir,
        custom_name=event.custom_name,
        terms=options.terms,
    )


def launch_of(
    trial: Trial,
    slot: Slot,
    run_until: RunUntil,
    start: TrialCheckpoint | None = None,
    checkpoint_suffix: str = "",
) -> Launch:
    """The command that starts a trial's newest attempt in its slot.

    Args:
        trial: The trial.
        slot: Where.
        run_until: Where it first waits for a decision.
        start: What it goes on from; None for afresh.
        checkpoint_suffix: Ends the names of the checkpoints that it writes.
    """
    return Launch(
        trial_id=trial.trial_id,
        attempt=trial.attempt,
        name=str(trial),
        config=trial.config,
        node=slot.node,
        resources=trial.resources,
        devices=slot.devices,
        run_until=run_until,
        checkpoint=None if start is None else start.path,
        progress=NO_PROGRESS if start is None else start.progress,
        checkpoint_suffix=checkpoint_suffix,
    )
