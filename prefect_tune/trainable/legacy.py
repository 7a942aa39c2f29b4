"""Ray's older names: `tune.track` and `tune.function` of Ray Tune 1, and durable trainables."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.session import get_trial_dir, report
from prefect_tune.trainable.trainable import Trainable

_T = TypeVar("_T")


class DurableTrainable(Trainable):
    """Older name of `Trainable`: the checkpoints of every trainable are uploaded to storage."""


def durable(trainable: Any) -> Any:
    """Return a trainable unchanged: the checkpoints of every trainable are uploaded to storage.

    Args:
        trainable: A trainable, or the name of a registered one.

    Raises:
        InvalidTrainable: If `trainable` is neither.
    """
    if not isinstance(trainable, str):
        validate_trainable(trainable)
    return trainable


def init(*args: Any, **kwargs: Any) -> None:
    """Do nothing: a trial starts with a session."""


def shutdown() -> None:
    """Do nothing: the session ends with the trial."""


def log(**metrics: Any) -> None:
    """Report metrics; older name of ``tune.report(name=value)``."""
    report(**metrics)


def trial_dir() -> str | None:
    """Return the trial's directory; older name of `tune.get_trial_dir`."""
    return get_trial_dir()


def function(func: _T) -> _T:
    """Return `func` itself: a configuration may contain functions."""
    warnings.warn("`tune.function(f)` is not needed: write `f`.", FutureWarning, stacklevel=2)
    return func
