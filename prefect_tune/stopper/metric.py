"""Read a metric from a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument, MissingMetric
from prefect_tune.text import in_words


def metric_value(trial_id: str, result: Mapping[str, Any], metric: str) -> float:
    """Return the value of a metric in a flattened result.

    Raises:
        MissingMetric: If the result does not have the metric.
        InvalidArgument: If the value cannot be converted to a number.
    """
    if metric not in result:
        raise MissingMetric(
            f"`stop`: the criterion {metric!r} is not in the result of trial {trial_id}. "
            f"It has: {', '.join(sorted(map(str, result))) or 'nothing'}."
        )
    value = result[metric]
    if type(value) is float:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise InvalidArgument(
            "stop",
            f"trial {trial_id} reported {in_words(value, repr)} ({type(value).__name__}) as "
            f"{metric!r}.",
            "Stop by a metric that is a number.",
        ) from None
