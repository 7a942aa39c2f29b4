"""Schedulers by name."""

from __future__ import annotations

import inspect
from typing import Any

from prefect_tune import not_yet
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers.async_hyperband import AsyncHyperBandScheduler
from prefect_tune.schedulers.median_stopping_rule import MedianStoppingRule
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

_SCHEDULERS: dict[str, type[TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "asha": AsyncHyperBandScheduler,
    "async_hyperband": AsyncHyperBandScheduler,
    "asynchyperband": AsyncHyperBandScheduler,
    "median_stopping_rule": MedianStoppingRule,
    "medianstopping": MedianStoppingRule,
}


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Build a scheduler by its name, e.g. ``create_scheduler("asha", max_t=50)``.

    Args:
        scheduler: ``fifo``, ``asha``, ``async_hyperband``, ``asynchyperband``,
            ``median_stopping_rule`` or ``medianstopping``.
        **kwargs: Arguments of its constructor; those it does not have are ignored, as in Ray Tune.

    Raises:
        InvalidArgument: If there is no such scheduler, or an argument is out of its range.
    """
    try:
        cls = _SCHEDULERS[scheduler.lower()]
    except (KeyError, AttributeError):
        later = not_yet.message(f"prefect_tune.schedulers.{scheduler}")
        raise InvalidArgument(
            "scheduler", later or f"there is no {scheduler!r}.", f"Known: {', '.join(_SCHEDULERS)}."
        ) from None
    known = inspect.signature(cls).parameters
    return cls(**{name: value for name, value in kwargs.items() if name in known})
