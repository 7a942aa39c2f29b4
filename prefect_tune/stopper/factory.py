"""Stoppers of the arguments `stop` and `time_budget_s`: of thresholds, and of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.stopper.criteria import TimeoutStopper, metric_value
from prefect_tune.stopper.stopper import CombinedStopper, NoopStopper, Stopper, TrialStopper


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


class DictStopper(TrialStopper):
    """Stops a trial as soon as one of several metrics is at least its threshold.

    This also holds for a metric that the experiment minimises.

    Args:
        criteria: Metric -> threshold; nested metrics are named ``a/b/c``.

    Raises:
        InvalidArgument: If the name of a metric is not a string or a threshold is not a number.
    """

    def __init__(self, criteria: Mapping[str, float]) -> None:
        self._criteria = [(metric, _threshold(metric, value)) for metric, value in criteria.items()]
        self._until = RunUntil(tuple(self._criteria))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if a metric has reached its threshold.

        Raises:
            MissingMetric: If the result lacks one of the metrics, unless the trial is done with it.
            InvalidArgument: If a metric is not a number.
        """
        for metric, threshold in self._criteria:
            if metric not in result and result.get("done") is True:
                continue
            if metric_value(trial_id, result, metric) >= threshold:
                return True
        return False

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the thresholds, before which the trial need not wait."""
        return self._until

    def get_state(self) -> dict[str, Any]:
        """Return an empty state, so that a resumed experiment may have other thresholds."""
        return {}


def _threshold(metric: Any, value: Any) -> float:
    if not isinstance(metric, str) or not metric:
        raise InvalidArgument("stop", f"{metric!r} is not the name of a metric.", "Use a string.")
    if isinstance(value, Mapping):
        example = "/".join([metric, *(str(key) for key in list(value)[:1])])
        raise InvalidArgument(
            "stop", f"the criterion for {metric!r} is nested.", f'Name it flat: "{example}".'
        )
    try:
        threshold = float(value)
    except (TypeError, ValueError):
        threshold = float("nan")
    if isinstance(value, str) or threshold != threshold:
        raise InvalidArgument(
            "stop", f"the threshold of {metric!r} is {value!r}.", "Give a number."
        )
    return threshold


class FunctionStopper(TrialStopper):
    """Stops a trial at a result for which a function returns True.

    Trials wait for the function's decision at each result.

    Args:
        function: Called with ``(trial_id, result)``; its return value is taken as true or false.

    Raises:
        InvalidArgument: If the function cannot be called with two arguments.
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], Any]) -> None:
        if not self.is_valid_function(function):
            raise InvalidArgument("stop", f"got {function!r}.", _HINT)
        _check_signature(function)
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return the function's decision."""
        return bool(self._function(trial_id, result))

    def get_state(self) -> dict[str, Any]:
        """Return an empty state, since a resumed experiment gets the function from the user."""
        return {}

    @classmethod
    def is_valid_function(cls, function: Any) -> bool:
        """Return True for a callable that is not itself a stopper.

        Raises:
            InvalidArgument: If `function` has a `stop_all` but does not derive from `Stopper`.
        """
        if not callable(function) or isinstance(function, (Stopper, type)):
            return False
        if hasattr(function, "stop_all"):
            raise InvalidArgument(
                "stop",
                f"{type(function).__name__} has a stop_all() but is not a Stopper.",
                "Derive it from prefect_tune.stopper.Stopper.",
            )
        return True


_HINT = "Give a function of (trial_id, result) that returns True to stop the trial."


def _check_signature(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have no signature
        return
    try:
        signature.bind("trial_id", {})
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InvalidArgument(
            "stop", f"{name}{signature} cannot be called with two arguments ({error}).", _HINT
        ) from None
