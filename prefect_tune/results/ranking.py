"""Which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.result import DEFAULT_METRIC

SCOPES = ("last", "avg", "last-5-avg", "last-10-avg", "all")


def check_mode(mode: Any, argument: str = "mode") -> str:
    """Return the mode.

    Raises:
        InvalidArgument: If it is neither ``min`` nor ``max``.
    """
    if mode not in ("min", "max"):
        raise InvalidArgument(argument, f"got {mode!r}.", 'It is "min" or "max".')
    return str(mode)


def metric_and_mode(
    trials: Iterable[Trial], metric: str | None, mode: str | None
) -> tuple[str, str]:
    """What trials are compared by.

    Args:
        trials: The trials: all may have reported one number without a name.
        metric: Name of the metric; None if nobody has named one.
        mode: ``min`` or ``max``; None if nobody has said.

    Raises:
        InvalidArgument: If one is missing, or the mode has another value.
    """
    if metric is None and any(DEFAULT_METRIC in trial.last_result for trial in trials):
        metric = DEFAULT_METRIC
    if metric is None:
        raise InvalidArgument(
            "metric", "no metric to compare trials by.", "Give it here or to the experiment."
        )
    if mode is None:
        raise InvalidArgument(
            "mode", "no mode to compare trials by.", 'Give "min" or "max" here or there.'
        )
    return metric, check_mode(mode)


def check_scope(scope: str) -> str:
    """Return the scope.

    Raises:
        InvalidArgument: If there is no such scope.
    """
    if scope not in SCOPES:
        raise InvalidArgument("scope", f"got {scope!r}.", f"It is one of {', '.join(SCOPES)}.")
    return scope


def score(trial: Trial, metric: str, mode: str, scope: str = "last") -> float | None:
    """Return the value a trial is ranked by, None if it has none.

    Args:
        trial: The trial.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``; matters for scope ``all``.
        scope: One of `SCOPES`.
    """
    value = trial.metric_value(metric, scope, mode)
    if value is None:
        # There are no statistics of the auto-filled metrics.
        value = number_of(flatten(trial.last_result).get(metric))
    return value


def best_of(
    trials: Iterable[Trial],
    metric: str,
    mode: str,
    scope: str = "last",
    filter_nan_and_inf: bool = True,
) -> Trial | None:
    """Return the trial with the best value; of equal ones the first.

    Args:
        trials: The trials.
        metric: Name of the metric.
        mode: ``min`` or ``max``.
        scope: ``last`` value, ``avg`` of all, ``last-5-avg``, ``last-10-avg``, or the best of
            ``all``.
        filter_nan_and_inf: False lets an infinite value be the best; NaN never is.

    Raises:
        InvalidArgument: If `mode` or `scope` has another value.
    """
    sign = 1.0 if check_mode(mode) == "max" else -1.0
    check_scope(scope)
    best: Trial | None = None
    best_value = 0.0
    for trial in trials:
        value = score(trial, metric, mode, scope)
        if value is None or math.isnan(value) or (filter_nan_and_inf and math.isinf(value)):
            continue
        if best is None or sign * value > best_value:
            best, best_value = trial, sign * value
    return best
