"""Ray AIR's session: ``from prefect_tune.air import session``, ``session.report({...})``."""

from __future__ import annotations

from typing import Any

from prefect_tune.trainable.distributed.member import Member, current_member
from prefect_tune.trainable.session import get_checkpoint as get_checkpoint
from prefect_tune.trainable.session import get_experiment_name as get_experiment_name
from prefect_tune.trainable.session import get_trial_dir as get_trial_dir
from prefect_tune.trainable.session import get_trial_id as get_trial_id
from prefect_tune.trainable.session import get_trial_name as get_trial_name
from prefect_tune.trainable.session import get_trial_resources as get_trial_resources
from prefect_tune.trainable.session import report_as_air as report


def get_dataset_shard(dataset_name: str | None = None) -> Any:
    """Raise an error, because data set shards are for distributed training.

    Raises:
        RuntimeError: Always: there are no data sets of Ray's.
    """
    raise _not_distributed("get_dataset_shard")


def get_world_size() -> int:
    """Return how many processes train the trial.

    Raises:
        RuntimeError: If the trial is not trained by several.
    """
    return _member("get_world_size").size


def get_world_rank() -> int:
    """Return which of the training processes this is.

    Raises:
        RuntimeError: If the trial is not trained by several.
    """
    return _member("get_world_rank").rank


def get_local_rank() -> int:
    """Return which of the training processes on its host this is.

    Raises:
        RuntimeError: If the trial is not trained by several.
    """
    return _member("get_local_rank").local_rank


def _member(name: str) -> Member:
    member = current_member()
    if member is None:
        raise _not_distributed(name)
    return member


def _not_distributed(name: str) -> RuntimeError:
    return RuntimeError(
        f"`{name}` is for the processes of distributed training; this is not one of them."
    )


__all__ = [
    "get_checkpoint",
    "get_dataset_shard",
    "get_experiment_name",
    "get_local_rank",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "get_world_rank",
    "get_world_size",
    "report",
]
