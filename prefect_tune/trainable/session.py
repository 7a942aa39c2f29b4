"""What user code inside a trial calls to report and to learn about its trial.

Outside a trial every function warns and does nothing, so that a training function can be tried by
hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.trainable.attempt_session import Session, as_metrics, current_session


def _session_or_warn(name: str) -> Session | None:
    session = current_session()
    if session is None:
        warnings.warn(
            f"`{name}` was called outside a trial and does nothing.", RuntimeWarning, stacklevel=3
        )
    return session


def report(_metric: Any = None, *, checkpoint: Any = None, **metrics: Any) -> None:
    """Report a result of the running trial.

    All styles may be mixed: ``report({"loss": 0.1})``, ``report(loss=0.1)``, ``report(0.1)`` (its
    name is then ``_metric``). Ends the trial here if a scheduler or stopper says so. Outside a
    trial it warns and does nothing.

    Args:
        _metric: A dict of metrics, or one number.
        checkpoint: A checkpoint that belongs to this result.
        **metrics: More metrics.

    Raises:
        InvalidArgument: If the metrics are neither a dict nor a number.
        TuneError: If a checkpoint is given.
    """
    session = _session_or_warn("report")
    if session is None:
        return
    if checkpoint is not None:
        raise TuneError("`checkpoint`: reporting a checkpoint is not supported yet.")
    if _metric is None:
        if len(metrics) == 1 and isinstance(metrics.get("metrics"), Mapping):
            metrics = dict(metrics["metrics"])  # report(metrics={...})
        session.report(metrics)
    else:
        session.report({**as_metrics(_metric), **metrics})


def is_session_enabled() -> bool:
    """True inside a trial."""
    return current_session() is not None


def get_trial_id() -> str | None:
    """Id of the running trial; None outside one."""
    session = _session_or_warn("get_trial_id")
    return session.context.trial_id if session else None


def get_trial_name() -> str | None:
    """Name of the running trial; None outside one."""
    session = _session_or_warn("get_trial_name")
    return session.context.trial_name if session else None


def get_trial_dir() -> str | None:
    """Directory of the running trial on this node; None outside one."""
    session = _session_or_warn("get_trial_dir")
    return session.context.trial_dir if session else None


def get_trial_resources() -> PlacementGroupFactory | None:
    """What is reserved for the running trial, as one bundle; None outside one.

    ``get_trial_resources().required_resources`` is a dict in units, e.g. ``{"CPU": 2.0}``.
    """
    session = _session_or_warn("get_trial_resources")
    return PlacementGroupFactory([session.context.resources]) if session else None


def get_experiment_name() -> str | None:
    """Name of the experiment; None outside a trial."""
    session = _session_or_warn("get_experiment_name")
    return session.context.experiment_name if session else None


def get_checkpoint() -> None:
    """The checkpoint to go on from: None for a trial that starts afresh, and outside a trial.

    Raises:
        TuneError: If the trial has one.
    """
    session = _session_or_warn("get_checkpoint")
    if session is not None and session.context.checkpoint is not None:
        raise TuneError("Going on from a checkpoint is not supported yet.")


class TuneContext:
    """The running trial as an object; every method returns None outside a trial."""

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
        """What is reserved for the trial, as one bundle."""
        return get_trial_resources()

    def get_experiment_name(self) -> str | None:
        """Name of the experiment."""
        return get_experiment_name()


def get_context() -> TuneContext:
    """The running trial as an object."""
    return TuneContext()
