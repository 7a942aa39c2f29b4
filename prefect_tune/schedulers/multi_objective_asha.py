"""ASHA for several metrics that are weighed against each other.

Schmucker et al., "Multi-objective Asynchronous Successive Halving" (2021): at each rung the results
are put into an order by non-dominated sorting, and within a front by an ε-net, which takes the
point first that lies farthest from those taken before; the best share goes on, as in ASHA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler
from prefect_tune.validation import check_metric_name, check_mode, check_number

Array = NDArray[np.float64]
#: With so many of the newest results of a rung a new one is compared: their order takes the square.
_MOST_COMPARED = 200


class MultiObjectiveASHAScheduler(ObjectiveScheduler):
    """Stops trials early that others beat in all of several metrics (MO-ASHA).

    A result is compared with the newest 200 at its rung.

    Args:
        metric: The result keys to compare by, two or more.
        mode: ``max`` or ``min`` for all of them, or one for each.
        time_attr: The result key that counts as time.
        max_t: Time at which a trial ends, in units of `time_attr`.
        grace_period: Time of the first rung, before which no trial is stopped.
        reduction_factor: About one trial in so many goes on from a rung.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        metric: Sequence[str],
        mode: str | Sequence[str] = "min",
        time_attr: str = "training_iteration",
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
    ) -> None:
        super().__init__(time_attr, None, None)
        if isinstance(metric, str) or len(metric) < 2:
            raise InvalidArgument(
                "metric", f"got {metric!r}.", "Give two or more; ASHAScheduler compares by one."
            )
        modes = [mode] * len(metric) if isinstance(mode, str) else list(mode)
        if len(modes) != len(metric):
            raise InvalidArgument(
                "mode", f"got {mode!r} for {len(metric)} metrics.", "Give one for each, or one."
            )
        for name, one in zip(metric, modes, strict=True):
            check_metric_name("metric", name)
            check_mode(one)
        check_number("max_t", max_t, above=0)
        check_number("grace_period", grace_period, above=0)
        check_number("reduction_factor", reduction_factor, above=1)
        if grace_period > max_t:
            raise InvalidArgument(
                "grace_period", f"{grace_period!r} is more than max_t={max_t!r}.", "Lower it."
            )
        self._metrics = list(metric)
        self._signs = [1.0 if one == "min" else -1.0 for one in modes]
        self._max_t = max_t
        self._factor = reduction_factor
        depth = int(math.log(max_t / grace_period) / math.log(reduction_factor) + 1e-9)
        self._milestones = [grace_period * reduction_factor**k for k in range(depth + 1)]
        self._costs: list[list[list[float]]] = [[] for _ in self._milestones]
        self._came = [0 for _ in self._milestones]
        self._level: dict[str, int] = {}
        self._num_stopped = 0

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """False if the experiment names one metric: the scheduler has several."""
        return metric is None

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Have a trial begin below the first rung; one that goes on is not judged twice."""
        self._level.setdefault(trial.trial_id, 0)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Stop at `max_t`, or if the result is not among the best of its rung.

        Raises:
            InvalidArgument: If the time or a metric is not a number.
        """
        level = self._level.get(trial.trial_id)
        names = (self._time_attr, *self._metrics)
        if level is None or any(result.get(name) is None for name in names):
            self._tell_without_time(trial, result)
            return self.CONTINUE
        time = self._number(result, self._time_attr, "time_attr")
        if time >= self._max_t:
            return self.STOP
        while level < len(self._milestones) and time >= self._milestones[level]:
            level += 1
        if level == self._level[trial.trial_id]:
            return self.CONTINUE
        self._level[trial.trial_id] = level
        cost = [
            sign * self._number(result, name, "metric")
            for sign, name in zip(self._signs, self._metrics, strict=True)
        ]
        known = self._costs[level - 1]
        known.append([math.inf if math.isnan(value) else value for value in cost])
        del known[:-_MOST_COMPARED]
        self._came[level - 1] += 1
        # The first one always goes on.
        if len(known) == 1 or rank_of_last(np.array(known)) < len(known) / self._factor:
            return self.CONTINUE
        self._num_stopped += 1
        return self.STOP

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Forget the trial; what it reported at rungs counts on."""
        self._level.pop(trial.trial_id, None)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Forget the trial."""
        self._level.pop(trial.trial_id, None)

    def run_until(self, trial: Trial) -> RunUntil:
        """The trial's next rung, or `max_t`."""
        level = self._level.get(trial.trial_id, 0)
        rungs = self._milestones
        milestone = min(rungs[level], self._max_t) if level < len(rungs) else self._max_t
        return RunUntil(((self._time_attr, milestone),))

    def debug_string(self) -> str:
        """Number of stopped trials, and how many have come to each rung."""
        rungs = (
            f"{milestone:g}: {count}"
            for milestone, count in zip(self._milestones, self._came, strict=True)
        )
        return f"Using {type(self).__name__}: num_stopped={self._num_stopped}\n" + " | ".join(rungs)


def rank_of_last(costs: Array) -> int:
    """How many rows come before the last one in the order of fronts and ε-nets; less is better."""
    beats = _beats(costs)
    rest = np.arange(len(costs))
    while True:
        alone: NDArray[np.bool_] = np.asarray(~beats[np.ix_(rest, rest)].any(axis=0))
        if alone[-1]:
            return len(costs) - len(rest) + _place_in_net(costs[rest[alone]])
        rest = rest[~alone]


def _beats(costs: Array) -> NDArray[np.bool_]:
    """Whether a row is nowhere worse than another one, and somewhere better."""
    no_worse = np.ones((len(costs), len(costs)), dtype=bool)
    better = np.zeros_like(no_worse)
    for column in costs.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return no_worse & better


def _place_in_net(front: Array) -> int:
    """When the last row is taken if each time the farthest from all before is, from the first."""
    finite = np.where(np.isfinite(front), front, np.nan)
    spread = (
        np.nan_to_num(np.nanmax(finite, axis=0) - np.nanmin(finite, axis=0))
        if len(front) > 1
        else np.ones(front.shape[1])
    )
    scaled = np.nan_to_num(finite / np.where(spread > 0, spread, 1.0))
    distance = np.full(len(front), math.inf)
    taken = 0
    for place in range(len(front)):
        if taken == len(front) - 1:
            return place
        distance[taken] = -1.0
        distance = np.where(
            distance < 0,
            distance,
            np.minimum(distance, ((scaled - scaled[taken]) ** 2).sum(axis=1)),
        )
        taken = int(np.argmax(distance))
    return len(front) - 1
