"""Stop trials at thresholds: ``stop={"training_iteration": 10, "accuracy": 0.98}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.stopper.metric import metric_value
from prefect_tune.stopper.stopper import TrialStopper


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
