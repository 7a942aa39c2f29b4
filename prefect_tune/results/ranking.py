"""Rank trials by a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.result import DEFAULT_METRIC
from prefect_tune.validation import check_mode

SCOPES = ("last", "avg", "last-5-avg", "last-10-avg", "all")


def resolve_metric_and_mode(
    trials: Iterable[Trial], metric: str | None, mode: str | None
) -> tuple[str, str]:
    """Return the metric and mode to compare trials by; without a metric, that of ``return 0.5``.

    Args:
        trials: The trials; a trainable may have returned one number without a name.
        metric: Name of the metric; None if the user named none.
        mode: ``min`` or ``max``; None if the user gave none.

    Raises:
        InvalidArgument: If metric or mode is missing, or the mode has another value.
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
    """Check a scope and return it.

    Raises:
        InvalidArgument: If there is no such scope.
    """
    if scope not in SCOPES:
        raise InvalidArgument("scope", f"got {scope!r}.", f"It is one of {', '.join(SCOPES)}.")
    return scope


def score(trial: Trial, metric: str, mode: str, scope: str = "last") -> float | None:
    """Return the value of a metric that a trial is ranked by, None if the trial has none.

    Args:
        trial: The trial.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``; used by scope ``all`` only.
        scope: One of `SCOPES`.
    """
    value = trial.metric_value(metric, scope, mode)
    if value is None:
        # Trials keep no statistics of the auto-filled metrics.
        value = number_of(flatten(trial.last_result).get(metric))
    return value


def best_of(
    trials: Iterable[Trial],
    metric: str,
    mode: str,
    scope: str = "last",
    filter_nan_and_inf: bool = True,
) -> Trial | None:
    """Return the trial with the best value of a metric, the first of equals; None without values.

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
