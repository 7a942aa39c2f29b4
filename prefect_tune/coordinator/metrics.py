"""The check that a result holds the metrics that the experiment is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect_tune.error import MissingMetric
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import AUTO_FILLED
from prefect_tune.text import in_words

_NEVER_THE_USERS = AUTO_FILLED | {
    "training_iteration",
    "time_total_s",
    "timesteps_this_iter",
    "episodes_this_iter",
    "_metric",
}


def check_metrics(flat_result: dict[str, Any], metrics: Iterable[str], trial: object) -> None:
    """Strict metric checking.

    A result that holds no metric of the user's own passes. NaN and infinity pass: they are numbers
    that never win.

    Raises:
        MissingMetric: If a metric is not in the result or is not a number; names the trial, the
            metric, what was reported instead and how to switch the check off.
    """
    for metric in metrics:
        if metric in flat_result:
            value = flat_result[metric]
            if value is not None and number_of(value) is None:
                raise MissingMetric(
                    f"Trial {trial} reported {metric}={in_words(value, repr)} "
                    f"({type(value).__name__}). The `metric` of an experiment must be a number: "
                    f"report e.g. float(...)."
                )
            continue
        reported = sorted(str(key) for key in flat_result if key not in _NEVER_THE_USERS)
        if not reported and "_metric" not in flat_result:
            continue
        raise MissingMetric(
            f"Trial {trial} reported a result without {metric!r}, the `metric` that the "
            f"experiment optimises; it reported {reported or ['_metric']}. Report the metric "
            f"each time, name one of these as `metric`, or set "
            f"TUNE_DISABLE_STRICT_METRIC_CHECKING=1 to switch this check off."
        )
