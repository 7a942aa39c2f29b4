"""What functions of Ray Tune 1 and before call: `tune.track` and `tune.function`."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from prefect_tune.trainable.session import get_trial_dir, report

_T = TypeVar("_T")


def init(*args: Any, **kwargs: Any) -> None:
    """Does nothing: the session is there when the trial begins."""


def shutdown() -> None:
    """Does nothing: the session ends with the trial."""


def log(**metrics: Any) -> None:
    """The older name of ``tune.report(name=value)``."""
    report(**metrics)


def trial_dir() -> str | None:
    """The older name of `tune.get_trial_dir`."""
    return get_trial_dir()


def function(func: _T) -> _T:
    """Gives `func` back: functions may be in a configuration as they are."""
    warnings.warn("`tune.function(f)` is not needed: write `f`.", FutureWarning, stacklevel=2)
    return func
