"""Functions that user code calls inside a trial, to report and to get facts about the trial.

Outside a trial every function warns and does nothing, so that a training function can be tested
without a trial.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.error import TuneError
from prefect_tune.filesystem.location import Location
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.trainable.distributed.rendezvous import current_worker
from prefect_tune.trainable.runtime.attempt_session import Session, current_session
from prefect_tune.trainable.runtime.metrics import as_metrics


def session_or_warn(name: str, stacklevel: int = 3) -> Session | None:
    """Return the current session; outside a trial warn that the function `name` does nothing."""
    session = current_session()
    if session is None:
        warnings.warn(
            f"`{name}` was called outside a trial and does nothing.", RuntimeWarning, stacklevel
        )
    return session


def report(_metric: Any = None, *, checkpoint: Checkpoint | None = None, **metrics: Any) -> None:
    """Report a result of the running trial.

    Call it as ``report({"loss": 0.1})``, ``report(loss=0.1)`` or ``report(0.1)`` (its name is then
    ``_metric``). Ends the trial here if a scheduler or stopper decides so. Outside a trial it warns
    and does nothing.

    Args:
        _metric: A dict of metrics, or one number.
        checkpoint: A `Checkpoint` of this result. It is copied into the trial's
            directory, as ``checkpoint_<training_iteration>``; a dict is written there directly.
        **metrics: More metrics.

    Raises:
        InvalidArgument: If the metrics are neither a dict nor a number, if `checkpoint` is no
            checkpoint, its directory does not exist, or the trial calls `air.session.report` too.
        StorageError: If the checkpoint cannot be read or written.
    """
    session = session_or_warn("report")
    if session is None:
        return
    if metrics or not isinstance(_metric, Mapping):
        session.use_style("tune.report(name=value)")
    if _metric is None:
        if len(metrics) == 1 and isinstance(metrics.get("metrics"), Mapping):
            metrics = dict(metrics["metrics"])  # report(metrics={...})
        session.report(metrics, checkpoint)
    else:
        session.report({**as_metrics(_metric), **metrics}, checkpoint)


def is_session_enabled() -> bool:
    """Return True inside a trial."""
    return current_session() is not None


def get_trial_id() -> str | None:
    """Return the id of the running trial; None outside a trial."""
    session = session_or_warn("get_trial_id")
    return session.context.launch.trial_id if session else None


def get_trial_name() -> str | None:
    """Return the name of the running trial; None outside a trial."""
    session = session_or_warn("get_trial_name")
    return session.context.launch.name if session else None


def get_trial_dir() -> str | None:
    """Return the directory of the running trial on this node; None outside a trial."""
    session = session_or_warn("get_trial_dir")
    return session.context.trial_dir if session else None


def get_trial_resources() -> PlacementGroupFactory | None:
    """Return the bundles reserved for the running trial; None outside a trial.

    ``get_trial_resources().required_resources`` is a dict in units, e.g. ``{"CPU": 2.0}``.
    """
    session = session_or_warn("get_trial_resources")
    return session.context.launch.resources.factory if session else None


def get_experiment_name() -> str | None:
    """Return the name of the experiment; None outside a trial."""
    session = session_or_warn("get_experiment_name")
    return session.context.experiment_name if session else None


def get_checkpoint() -> Checkpoint | None:
    """Return the checkpoint to start from, as a directory on this node.

    None for a trial that starts from the beginning, and outside a trial.
    """
    session = session_or_warn("get_checkpoint")
    context = None if session is None else session.context
    if context is None or context.checkpoint is None:
        return None
    return Checkpoint.at_location(Location(context.checkpoint), context.checkpoint_uri)


def should_checkpoint() -> bool:
    """Return True if the trial has to write a checkpoint now, because its worker will end.

    The worker has got SIGTERM (a spot instance that is taken back, a time limit of SLURM, a pod
    that is moved) or is retired. The trial has `PREFECT_TUNE_PREEMPTION_GRACE_S` seconds: at its
    next report with a checkpoint it ends here, and goes on elsewhere from that; this counts as no
    failure. A class trainable is saved after its step without asking. False outside a trial.
    """
    session = current_session()
    return session is not None and session.should_checkpoint()


@contextlib.contextmanager
def checkpoint_dir(step: int) -> Iterator[str]:
    """Provide a new directory for a checkpoint: ``with tune.checkpoint_dir(step=epoch) as d:``.

    The directory is in the trial's directory, so nothing is copied. The checkpoint is complete with
    the next report, to which it belongs; if the block raises, it is removed. The function has to
    have a parameter for its start, ``def train(config, checkpoint_dir=None)``, or call
    `get_checkpoint`.

    Args:
        step: Number in the directory's name.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
        StorageError: If the directory cannot be made.
    """
    session = session_or_warn("checkpoint_dir", stacklevel=4)
    if session is not None:
        with session.checkpoint_dir(step) as directory:
            yield directory
    else:
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            yield directory


def make_checkpoint_dir(step: int | None = None) -> str:
    """Create a directory for a checkpoint, to be passed to `save_checkpoint` once it is written.

    This is the older form of `checkpoint_dir`. Outside a trial the directory is a temporary one.

    Args:
        step: Number in the directory's name; by default the training iteration.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
        StorageError: If the directory cannot be made.
    """
    session = session_or_warn("make_checkpoint_dir")
    if session is None:
        return tempfile.mkdtemp(prefix="checkpoint_")
    return session.make_checkpoint_dir(step)


def save_checkpoint(checkpoint: str) -> None:
    """Attach a directory from `make_checkpoint_dir` to the next report.

    Args:
        checkpoint: The directory, or a path in it.

    Raises:
        InvalidArgument: If `checkpoint` is no such directory.
    """
    session = session_or_warn("save_checkpoint")
    if session is not None:
        session.save_checkpoint(checkpoint)


class TuneContext:
    """Object with facts about the running trial.

    Methods about the trial return None outside a trial. In a trial that is one process, methods
    about the processes of distributed training return the values for a single process, with a
    `DeprecationWarning`.
    """

    def get_trial_id(self) -> str | None:
        """Return the id of the trial."""
        return get_trial_id()

    def get_trial_name(self) -> str | None:
        """Return the name of the trial."""
        return get_trial_name()

    def get_trial_dir(self) -> str | None:
        """Return the directory of the trial on this node."""
        return get_trial_dir()

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """Return the bundles reserved for the trial."""
        return get_trial_resources()

    def get_experiment_name(self) -> str | None:
        """Return the name of the experiment."""
        return get_experiment_name()

    def get_world_size(self) -> int:
        """Return how many processes train the trial."""
        return _of_member("world_size", "size", 1)

    def get_world_rank(self) -> int:
        """Return which of the training processes this is."""
        return _of_member("world_rank", "rank", 0)

    def get_local_rank(self) -> int:
        """Return which of those on its host it is."""
        return _of_member("local_rank", "local_rank", 0)

    def get_local_world_size(self) -> int:
        """Return how many of them are on its host."""
        return _of_member("local_world_size", "local_size", 1)

    def get_node_rank(self) -> int:
        """Return the number of its host."""
        return _of_member("node_rank", "node_rank", 0)

    def get_storage(self) -> Any:
        """Raise an error that says what to use in place of Ray's storage object.

        Raises:
            TuneError: Always.
        """
        raise TuneError(
            "`get_storage` returns an object of Ray, which does not exist here. Write files into "
            "`get_trial_dir()`, and files that storage should keep into a checkpoint: "
            "`tune.report(metrics, checkpoint=...)`."
        )

    def get_metadata(self) -> dict[str, Any]:
        """Raise an error, because a trial has no metadata.

        Raises:
            DeprecationWarning: Always.
        """
        raise DeprecationWarning("`get_metadata` is not supported: a trial has no metadata.")


def _of_member(name: str, attribute: str, alone: int) -> int:
    worker = current_worker()
    if worker is not None:
        return int(getattr(worker, attribute))
    warnings.warn(
        f"`get_{name}` is for distributed training; this trial is one process, so it is {alone}.",
        DeprecationWarning,
        stacklevel=3,
    )
    return alone


def get_context() -> TuneContext:
    """Return an object with facts about the running trial."""
    return TuneContext()
