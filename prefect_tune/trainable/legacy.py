"""`tune.track` and `tune.function`, for training functions of Ray Tune 1 and earlier."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from prefect_tune.trainable.session import get_trial_dir, report

_T = TypeVar("_T")


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
