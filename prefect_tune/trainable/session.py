"""What user code inside a trial calls to report and to learn about its trial.

Outside a trial every function warns and does nothing, so that a training function can be tried by
hand.
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
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.runtime.current_session import current_session
from prefect_tune.trainable.runtime.metrics import as_metrics


def _session_or_warn(name: str, stacklevel: int = 3) -> Session | None:
    session = current_session()
    if session is None:
        warnings.warn(
            f"`{name}` was called outside a trial and does nothing.", RuntimeWarning, stacklevel
        )
    return session


def report(_metric: Any = None, *, checkpoint: Checkpoint | None = None, **metrics: Any) -> None:
    """Report a result of the running trial.

    Written as ``report({"loss": 0.1})``, ``report(loss=0.1)`` or ``report(0.1)`` (its name is then
    ``_metric``). Ends the trial here if a scheduler or stopper says so. Outside a trial it warns
    and does nothing.

    Args:
        _metric: A dict of metrics, or one number.
        checkpoint: A `Checkpoint` that belongs to this result. It is copied into the trial's
            directory, as ``checkpoint_<training_iteration>``; a dict is written there directly.
        **metrics: More metrics.

    Raises:
        InvalidArgument: If the metrics are neither a dict nor a number, if `checkpoint` is no
            checkpoint, its directory does not exist, or the trial calls `air.session.report` too.
        StorageError: If the checkpoint cannot be read or written.
    """
    session = _session_or_warn("report")
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


def report_as_air(metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
    """Report a result of the running trial: ``session.report({"loss": 0.1})``.

    Ends the trial here if a scheduler or stopper says so. Outside a trial it warns and does
    nothing.

    Args:
        metrics: A dict of metrics.
        checkpoint: As of `report`.

    Raises:
        InvalidArgument: As by `report`, and if the trial calls ``tune.report(name=value)`` too.
        StorageError: If the checkpoint cannot be read or written.
    """
    session = _session_or_warn("report")
    if session is not None:
        session.use_style("session.report")
        session.report(metrics, checkpoint)


def is_session_enabled() -> bool:
    """True inside a trial."""
    return current_session() is not None


def get_trial_id() -> str | None:
    """Id of the running trial; None outside one."""
    session = _session_or_warn("get_trial_id")
    return session.context.launch.trial_id if session else None


def get_trial_name() -> str | None:
    """Name of the running trial; None outside one."""
    session = _session_or_warn("get_trial_name")
    return session.context.launch.name if session else None


def get_trial_dir() -> str | None:
    """Directory of the running trial on this node; None outside one."""
    session = _session_or_warn("get_trial_dir")
    return session.context.trial_dir if session else None


def get_trial_resources() -> PlacementGroupFactory | None:
    """The bundles that are reserved for the running trial; None outside one.

    ``get_trial_resources().required_resources`` is a dict in units, e.g. ``{"CPU": 2.0}``.
    """
    session = _session_or_warn("get_trial_resources")
    return session.context.launch.resources.factory if session else None


def get_experiment_name() -> str | None:
    """Name of the experiment; None outside a trial."""
    session = _session_or_warn("get_experiment_name")
    return session.context.experiment_name if session else None


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from, as a directory on this node.

    None for a trial that starts afresh, and outside a trial.
    """
    session = _session_or_warn("get_checkpoint")
    context = None if session is None else session.context
    if context is None or context.checkpoint is None:
        return None
    return Checkpoint.at_location(Location(context.checkpoint), context.checkpoint_uri)


@contextlib.contextmanager
def checkpoint_dir(step: int) -> Iterator[str]:
    """A new directory to write a checkpoint into: ``with tune.checkpoint_dir(step=epoch) as d:``.

    It is in the trial's directory already, so nothing is copied. The checkpoint exists from the
    next report on, and belongs to that; if the block raises, it is dropped. The function has to
    accept `checkpoint_dir` to go on from it, ``def train(config, checkpoint_dir=None)``, or call
    `get_checkpoint`.

    Args:
        step: Becomes the number in the directory's name.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
        StorageError: If the directory cannot be made.
    """
    session = _session_or_warn("checkpoint_dir", stacklevel=4)
    if session is not None:
        with session.checkpoint_dir(step) as directory:
            yield directory
    else:
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            yield directory


def make_checkpoint_dir(step: int | None = None) -> str:
    """A new directory for a checkpoint that `save_checkpoint` will be called with.

    The older form of `checkpoint_dir`. Outside a trial: a temporary directory.

    Args:
        step: Becomes the number in the directory's name; by default the training iteration.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
        StorageError: If the directory cannot be made.
    """
    session = _session_or_warn("make_checkpoint_dir")
    if session is None:
        return tempfile.mkdtemp(prefix="checkpoint_")
    return session.make_checkpoint_dir(step)


def save_checkpoint(checkpoint: str) -> None:
    """Let a directory from `make_checkpoint_dir` belong to the next report.

    Args:
        checkpoint: The directory, or something in it.

    Raises:
        InvalidArgument: If it is no such directory.
    """
    session = _session_or_warn("save_checkpoint")
    if session is not None:
        session.save_checkpoint(checkpoint)


class TuneContext:
    """The running trial as an object.

    Every method that tells something of the trial returns None outside one. A trial is one process:
    what Ray's methods say of the processes of distributed training, these say of one.
    """

    def get_trial_id(self) -> str | None:
        """Id of the trial."""
        return get_trial_id()

    def get_trial_name(self) -> str | None:
        """Name of the trial."""
        return get_trial_name()

    def get_trial_dir(self) -> str | None:
        """Directory of the trial on this node."""
        return get_trial_dir()

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """The bundles that are reserved for the trial."""
        return get_trial_resources()

    def get_experiment_name(self) -> str | None:
        """Name of the experiment."""
        return get_experiment_name()

    def get_world_size(self) -> int:
        """1, with a `DeprecationWarning`."""
        return _alone("get_world_size", 1)

    def get_world_rank(self) -> int:
        """0, with a `DeprecationWarning`."""
        return _alone("get_world_rank", 0)

    def get_local_rank(self) -> int:
        """0, with a `DeprecationWarning`."""
        return _alone("get_local_rank", 0)

    def get_local_world_size(self) -> int:
        """1, with a `DeprecationWarning`."""
        return _alone("get_local_world_size", 1)

    def get_node_rank(self) -> int:
        """0, with a `DeprecationWarning`."""
        return _alone("get_node_rank", 0)

    def get_storage(self) -> Any:
        """Accepted to say what to do instead.

        Raises:
            TuneError: Always.
        """
        raise TuneError(
            "`get_storage` gives Ray's own object, which is not here. Write files into "
            "`get_trial_dir()`, and what is to be kept in storage into a checkpoint: "
            "`tune.report(metrics, checkpoint=...)`."
        )

    def get_metadata(self) -> dict[str, Any]:
        """There is none.

        Raises:
            DeprecationWarning: Always.
        """
        raise DeprecationWarning("`get_metadata` means nothing here; a trial has no metadata.")


def _alone(name: str, value: int) -> int:
    warnings.warn(
        f"`{name}` is for distributed training; a trial is one process, so it is {value}.",
        DeprecationWarning,
        stacklevel=3,
    )
    return value


def get_context() -> TuneContext:
    """The running trial as an object."""
    return TuneContext()
