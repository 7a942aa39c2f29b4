"""What runs inside a trial process: the session, and function and class trainables."""

from __future__ import annotations

from prefect_tune.trainable.session import (
    TuneContext,
    get_checkpoint,
    get_context,
    get_experiment_name,
    get_trial_dir,
    get_trial_id,
    get_trial_name,
    get_trial_resources,
    is_session_enabled,
    report,
)
from prefect_tune.trainable.trainable import Trainable

__all__ = [
    "Trainable",
    "TuneContext",
    "get_checkpoint",
    "get_context",
    "get_experiment_name",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "is_session_enabled",
    "report",
]
