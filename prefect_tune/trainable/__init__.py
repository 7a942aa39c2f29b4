"""Trainables, and the functions that user code calls inside a trial."""

from __future__ import annotations

from prefect_tune.trainable.session import (
    TuneContext,
    checkpoint_dir,
    get_checkpoint,
    get_context,
    get_experiment_name,
    get_trial_dir,
    get_trial_id,
    get_trial_name,
    get_trial_resources,
    is_session_enabled,
    make_checkpoint_dir,
    report,
    save_checkpoint,
)
from prefect_tune.trainable.trainable import Trainable
from prefect_tune.trainable.wrappers import with_parameters, with_resources

__all__ = [
    "Trainable",
    "TuneContext",
    "checkpoint_dir",
    "get_checkpoint",
    "get_context",
    "get_experiment_name",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "is_session_enabled",
    "make_checkpoint_dir",
    "report",
    "save_checkpoint",
    "with_parameters",
    "with_resources",
]
