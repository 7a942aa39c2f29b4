"""Make a stopper of the arguments `stop` and `time_budget_s`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.stopper.dict_stopper import DictStopper
from prefect_tune.stopper.function_stopper import FunctionStopper
from prefect_tune.stopper.noop import NoopStopper
from prefect_tune.stopper.stopper import CombinedStopper, Stopper
from prefect_tune.stopper.timeout import TimeoutStopper


def make_stopper(stop: Any = None, time_budget_s: Any = None) -> Stopper:
    """Make a stopper of a user's `stop` and `time_budget_s`.

    Args:
        stop: None, a dict ``{metric: threshold}``, a function of ``(trial_id, result)``, a
            `Stopper`, or a list or tuple of these, of which any one stops.
        time_budget_s: None, seconds, or a `datetime.timedelta` for the whole experiment.

    Raises:
        InvalidArgument: If an argument has another type or value.
    """
    stopper = _read(stop)
    if time_budget_s is None:
        return stopper
    timeout = TimeoutStopper(time_budget_s, argument="time_budget_s")
    return timeout if isinstance(stopper, NoopStopper) else stopper | timeout


def _read(stop: Any) -> Stopper:
    if stop is None:
        return NoopStopper()
    if isinstance(stop, Stopper):
        return stop
    if isinstance(stop, Mapping):
        return DictStopper(stop) if stop else NoopStopper()
    if isinstance(stop, (list, tuple)):
        return CombinedStopper(*map(_read, stop)) if stop else NoopStopper()
    if isinstance(stop, type) and issubclass(stop, Stopper):
        raise InvalidArgument(
            "stop", f"got the class {stop.__name__}.", f"Give an instance: {stop.__name__}(...)."
        )
    if FunctionStopper.is_valid_function(stop):
        return FunctionStopper(stop)
    raise InvalidArgument(
        "stop",
        f"got {stop!r}.",
        "Give a dict {metric: threshold}, a function of (trial_id, result), a Stopper, or a list "
        "of these.",
    )
