"""`PB2` (population based bandits): PBT that chooses hyperparameters by a model.

Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with Population-Based
Bandits" (NeurIPS 2020). A Gaussian process learns how much the metric has grown per unit of time,
from the time, the metric before, and the hyperparameters; a copy gets those with the highest upper
confidence bound.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.gaussian_process import TimeVaryingProcess
from prefect_tune.schedulers.pbt import PopulationBasedTraining
from prefect_tune.space import uniform
from prefect_tune.validation import is_number

Array = NDArray[np.float64]
#: The newest observations that the model is made of.
_MOST_ROWS = 1000
_FEWEST_ROWS = 4
_CANDIDATES = 1000


class PB2(PopulationBasedTraining):
    """Replaces bad trials by copies of good ones with hyperparameters that a model chooses (PB2).

    Hyperparameters must be numbers. They are drawn at random until there are a few observations.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        perturbation_interval: Time between two looks at a trial, in units of `time_attr`.
        hyperparam_bounds: What may be changed: key -> ``[least, most]``, or a dict of these.
        quantile_fraction: The share of the best, and of the worst; at most 0.5.
        log_config: Whether each copy is written to ``pbt_global.txt`` and ``pbt_policy_*.txt``.
        require_attrs: Whether a result without `time_attr` or the metric is an error.
        synch: Whether all trials wait for each other at the end of each interval.
        custom_explore_fn: Gets the chosen configuration and returns the one to use.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if not hyperparam_bounds:
            raise InvalidArgument(
                "hyperparam_bounds",
                f"got {hyperparam_bounds!r}.",
                'Give the bounds of what may be changed, e.g. {"lr": [1e-4, 1e-1]}.',
            )
        bounds = dict(_flat(hyperparam_bounds))
        super().__init__(
            time_attr,
            metric,
            mode,
            perturbation_interval,
            hyperparam_mutations=_domains(hyperparam_bounds),
            quantile_fraction=quantile_fraction,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
        )
        self._bounds = bounds
        # Time, growth per unit of time, and the inputs of the model: metric before, and
        # hyperparameters in the unit cube.
        self._observed: list[tuple[float, float, list[float]]] = []
        # Time and score that the growth of each trial counts from.
        self._begin: dict[str, tuple[float, float]] = {}
        # Times and inputs of trials that were copied since their last observation.
        self._tried: dict[str, tuple[float, list[float]]] = {}

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial; its observations stay in the model."""
        self._begin.pop(trial.trial_id, None)
        self._tried.pop(trial.trial_id, None)
        super().on_trial_remove(controller, trial)

    def _observe(self, trial: Trial, time: float, score: float) -> None:
        if not math.isfinite(score):
            return
        begin, before = self._begin.get(trial.trial_id, (math.inf, 0.0))
        self._tried.pop(trial.trial_id, None)
        if time > begin:
            inputs = [before, *self._scale_config(trial.config)]
            self._observed.append((time, (score - before) / (time - begin), inputs))
            del self._observed[:-_MOST_ROWS]
        self._begin[trial.trial_id] = time, score

    def _new_config(self, trial: Trial, source: Trial) -> dict[str, Any]:
        begin = self._begin.get(source.trial_id)
        stream = self._generators()[1]
        position = stream.random_sample(len(self._bounds))
        if begin is not None:
            self._begin[trial.trial_id] = begin
            if len(self._observed) >= _FEWEST_ROWS:
                position = self._maximize_upper_bound(*begin, stream)
            self._tried[trial.trial_id] = begin[0], [begin[1], *position.tolist()]
        config = copy.deepcopy(source.config)
        for (path, (low, high)), place in zip(self._bounds.items(), position, strict=True):
            _set_value(config, path, low + float(place) * (high - low))
        return self._customized(config)

    def _maximize_upper_bound(
        self, time: float, score: float, stream: np.random.RandomState
    ) -> Array:
        """Return the hyperparameters with the highest upper confidence bound on growth."""
        times = np.array([row[0] for row in self._observed]) / self._interval
        growth = np.array([row[1] for row in self._observed])
        inputs = np.array([row[2] for row in self._observed])
        scores = inputs[:, 0]
        spread = float(np.ptp(scores)) or 1.0
        least = float(scores.min())

        def scaled(rows: Array) -> Array:
            return np.column_stack([(rows[:, 0] - least) / spread, rows[:, 1:]])

        process = TimeVaryingProcess(
            times, scaled(inputs), (growth - growth.mean()) / (growth.std() or 1.0)
        )
        if self._tried:
            tried = np.array([row for _, row in self._tried.values()])
            when = np.array([t for t, _ in self._tried.values()]) / self._interval
            pending = process.with_pending(when, scaled(tried))
        else:
            pending = process
        weight = math.sqrt(0.2 + max(0.0, math.log(0.4 * len(self._observed))))

        def best_of(positions: Array) -> Array:
            rows = scaled(np.column_stack([np.full(len(positions), score), positions]))
            now = np.full(len(rows), time / self._interval)
            bound = process.predict(now, rows)[0] + weight * pending.predict(now, rows)[1]
            chosen: Array = positions[int(np.argmax(bound))]
            return chosen

        best = best_of(stream.random_sample((_CANDIDATES, len(self._bounds))))
        near = np.clip(best + stream.normal(0, 0.05, (_CANDIDATES // 4, len(best))), 0, 1)
        return best_of(np.vstack([best, near]))

    def _scale_config(self, config: Mapping[str, Any]) -> list[float]:
        """Scale a configuration's hyperparameters to the unit cube."""
        found = []
        for path, (low, high) in self._bounds.items():
            value: Any = config
            for key in path:
                value = value[key]
            found.append((float(value) - low) / (high - low))
        return found


def _flat(
    bounds: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[float, float]]]:
    """Yield path and bounds of each hyperparameter.

    Raises:
        InvalidArgument: If bounds are not two numbers.
    """
    for key, value in bounds.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, key))
            continue
        pair = list(value) if isinstance(value, (list, tuple)) else []
        if len(pair) != 2 or not all(map(is_number, pair)) or not pair[0] < pair[1]:
            raise InvalidArgument(
                f"hyperparam_bounds[{'/'.join((*path, key))!r}]",
                f"got {value!r:.200}.",
                "Give [least, most], two numbers.",
            )
        yield (*path, key), (float(pair[0]), float(pair[1]))


def _domains(bounds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds as domains, to draw from and to name in tags."""
    return {
        key: _domains(value) if isinstance(value, Mapping) else uniform(*value)
        for key, value in bounds.items()
    }


def _set_value(config: dict[str, Any], path: tuple[str, ...], value: float) -> None:
    for key in path[:-1]:
        config = config[key]
    known = config.get(path[-1])
    whole = isinstance(known, int) and not isinstance(known, bool)
    config[path[-1]] = round(value) if whole else value
