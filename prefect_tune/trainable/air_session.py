"""Ray AIR's session: ``from prefect_tune.air import session``, ``session.report({...})``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.trainable.distributed.rendezvous import WorkerInfo, current_worker
from prefect_tune.trainable.session import session_or_warn


def report(metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
    """Report a result of the running trial: ``session.report({"loss": 0.1})``.

    Ends the trial here if a scheduler or stopper decides so. Outside a trial it warns and does
    nothing.

    Args:
        metrics: A dict of metrics.
        checkpoint: As for `tune.report`.

    Raises:
        InvalidArgument: As for `tune.report`, and if the trial calls ``tune.report(name=1)`` too.
        StorageError: If the checkpoint cannot be read or written.
    """
    session = session_or_warn("report")
    if session is not None:
        session.use_style("session.report")
        session.report(metrics, checkpoint)


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
    return _worker("get_world_size").size


def get_world_rank() -> int:
    """Return which of the training processes this is.

    Raises:
        RuntimeError: If the trial is not trained by several.
    """
    return _worker("get_world_rank").rank


def get_local_rank() -> int:
    """Return which of the training processes on its host this is.

    Raises:
        RuntimeError: If the trial is not trained by several.
    """
    return _worker("get_local_rank").local_rank


def _worker(name: str) -> WorkerInfo:
    worker = current_worker()
    if worker is None:
        raise _not_distributed(name)
    return worker


def _not_distributed(name: str) -> RuntimeError:
    return RuntimeError(
        f"`{name}` is for the processes of distributed training; this is not one of them."
    )
