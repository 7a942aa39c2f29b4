"""`TuneBOHB`: the searcher of BOHB, for use with the scheduler `HyperBandForBOHB`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import flatten
from prefect_tune.search.density import ProductDensity
from prefect_tune.search.libraries.base import Asked, LibrarySearcher
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.search.searcher import Metric, Mode, metric_values
from prefect_tune.space import RandomState
from prefect_tune.validation import check_count, check_number

__all__ = ["TuneBOHB"]

Array = NDArray[np.float64]
_BUDGET = "hyperband_info/budget"
#: The budget of trials that came to no milestone, and of points that were evaluated elsewhere.
_NO_BUDGET = 0.0


@dataclass(frozen=True, slots=True)
class _Options:
    """The options in `bohb_config`, named as in HpBandSter."""

    min_points_in_model: int | None = None
    top_n_percent: float = 15
    num_samples: int = 64
    random_fraction: float = 1 / 3
    bandwidth_factor: float = 3
    min_bandwidth: float = 1e-3


class TuneBOHB(LibrarySearcher):
    """The searcher of BOHB: models where good configurations are dense and bad ones are not.

    The model learns from results at the milestones of `HyperBandForBOHB`. For each of these budgets
    it has two densities, of the best configurations and of the others. Suggestions are likely among
    the best and unlikely among the others, by the largest budget with enough results. Every third
    suggestion, and all suggestions before there is a model, are random. No library but numpy is
    needed.

    Args:
        space: The search space; None takes the experiment's.
        bohb_config: `min_points_in_model`, `top_n_percent`, `num_samples`, `random_fraction`,
            `bandwidth_factor` and `min_bandwidth`, as in HpBandSter.
        max_concurrent: The most suggested trials that run at a time, without paused ones; 0 for no
            limit.
        metric: The result key to optimise; None takes the experiment's.
        mode: ``min`` or ``max``; None takes the experiment's.
        points_to_evaluate: Configurations to try first, each whole or in part.
        seed: Makes the suggestions reproducible; None takes the experiment's.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.

    Raises:
        InvalidArgument: If an argument is wrong.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        bohb_config: Mapping[str, Any] | None = None,
        max_concurrent: int = 0,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: RandomState = None,
        evaluated_rewards: Sequence[float] | None = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        check_count("max_concurrent", max_concurrent, at_least=0)
        self._options = _options(bohb_config or {})
        self._max_concurrent = max_concurrent
        self._categories: Array = np.zeros(0)
        self._rows: dict[str, Array] = {}
        #: Trials that run and are not paused; the scheduler's thread changes it.
        self._active: set[str] = set()
        self._last_budget: dict[str, float] = {}
        # Budget -> rows and losses.
        self._seen: dict[float, tuple[list[Array], list[float]]] = {}
        self._failed: list[Array] = []

    def get_state(self) -> dict[str, Any]:
        """Return the state of the searcher, for `set_state`."""
        return {**self.__dict__, "_active": set(self._active)}

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over metric, mode and seed, and the space unless it was constructed with one."""
        self._active.clear()
        self._rows.clear()
        self._last_budget.clear()
        return super().set_search_properties(metric, mode, config, **spec)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit the number of suggested trials that run at a time, without paused ones."""
        known = self._max_concurrent
        self._max_concurrent = min(known, max_concurrent) if known else max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration by the model or a random one; None at the concurrency limit."""
        if self._max_concurrent and len(self._active) >= self._max_concurrent:
            return None
        config = super().suggest(trial_id)
        asked = self._running.pop(trial_id, None)
        if isinstance(config, dict):
            self._active.add(trial_id)
            if asked is not None and asked.point is not None:
                # Without the parameters of branches that were not chosen.
                self._rows[trial_id] = self._row(self._start().point(config))
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from a result at a milestone."""
        flat = flatten(result)
        budget = flat.get(_BUDGET)
        if budget is None or trial_id not in self._rows:
            return
        if self._last_budget.get(trial_id) != budget:  # else its last result comes once more
            self._last_budget[trial_id] = float(budget)
            self._learn(self._rows[trial_id], float(budget), flat)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from a failure, or from the end of a trial that came to no milestone."""
        self._active.discard(trial_id)
        if trial_id not in self._rows:
            return
        if result:
            self.on_trial_result(trial_id, result)
        row, budget = self._rows.pop(trial_id), self._last_budget.pop(trial_id, None)
        if error:
            self._failed.append(row)
        elif result and budget is None:
            self._learn(row, _NO_BUDGET, flatten(result))

    def on_pause(self, trial_id: str) -> None:
        """Note that a trial was paused, so that it does not count for the concurrency limit."""
        self._active.discard(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Note that a paused trial runs again."""
        self._active.add(trial_id)

    # -- the model --------------------------------------------------------------------------------

    def _begin(self, parameters: list[Parameter]) -> None:
        sizes = [p.high + 1 if p.kind == "choice" else 0 for p in parameters]
        self._categories = np.array(sizes, dtype=float)
        self._dice = np.random.default_rng(self._new_seed())
        self._seen, self._failed = {}, []

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        row = self._row(point)
        if loss is None:
            self._failed.append(row)
        else:
            self._add(row, _NO_BUDGET, loss)

    def _learn(self, row: Array, budget: float, flat: Mapping[str, Any]) -> None:
        values = metric_values(flat, self._metric)
        loss = self._loss(values[0]) if values else None
        self._add(row, budget, math.inf if loss is None else loss)

    def _add(self, row: Array, budget: float, loss: float) -> None:
        rows, losses = self._seen.setdefault(budget, ([], []))
        rows.append(row)
        losses.append(loss)

    def _ask(self, trial_id: str) -> Asked:
        """Return the next row to try, as a point."""
        space, row = self._start(), self._suggest_row()
        numbers = {}
        for p, size, place in zip(self._parameters, self._categories, row, strict=True):
            low, high = _scale(p)
            numbers[p.name] = place if size else p.unscaled(low + place * (high - low))
            if p.kind == "int":
                numbers[p.name] = math.floor(numbers[p.name])
        return Asked(trial_id, space.rounded(numbers))

    def _suggest_row(self) -> Array:
        """Return the next row to try: a number from 0 to 1, or a category, for each parameter."""
        options, dims = self._options, len(self._parameters)
        anywhere = self._dice.random(dims)
        anywhere = np.where(self._categories > 0, np.floor(anywhere * self._categories), anywhere)
        fewest = max(options.min_points_in_model or dims + 1, dims + 1)
        modelled = [budget for budget, (rows, _) in self._seen.items() if len(rows) >= fewest + 2]
        if not modelled or self._dice.random() < options.random_fraction:
            return anywhere
        rows, losses = self._seen[max(modelled)]
        ranked = np.array(rows)[np.argsort(losses, kind="stable")]
        if self._failed:
            ranked = np.concatenate([ranked, np.array(self._failed)])
        count = len(ranked)
        good = max(fewest, int(options.top_n_percent * count / 100))
        bad = max(fewest, int((100 - options.top_n_percent) * count / 100))
        densities = [
            ProductDensity(self._imputed(part), self._categories, options.min_bandwidth)
            for part in (ranked[:good], ranked[-bad:])
        ]
        drawn = densities[0].draw(options.num_samples, options.bandwidth_factor, self._dice)
        likely = np.maximum(densities[0].at(drawn), 1e-32)
        best: Array = drawn[np.argmin(np.maximum(densities[1].at(drawn), 1e-32) / likely)]
        return best

    def _imputed(self, rows: Array) -> Array:
        """Fill in values for the parameters that a row's configuration does not have."""
        filled = rows.copy()
        for place, size in enumerate(self._categories):
            column = filled[:, place]
            absent = np.isnan(column)
            if not absent.any():
                continue
            known = column[~absent]
            count = int(absent.sum())
            if len(known):
                column[absent] = self._dice.choice(known, size=count)
            else:
                drawn = self._dice.random(count)
                column[absent] = np.floor(drawn * size) if size else drawn
        return filled

    def _row(self, point: Point) -> Array:
        """Return the row of a point, with NaN for parameters that it does not have."""
        row = np.full(len(self._parameters), math.nan)
        for place, p in enumerate(self._parameters):
            number = point.get(p.name)
            if number is not None and p.kind == "choice":
                row[place] = number
            elif number is not None:
                low, high = _scale(p)
                middle = number + 0.5 if p.kind == "int" else number
                row[place] = (p.scaled(middle) - low) / (high - low)
        return row


def _scale(parameter: Parameter) -> tuple[float, float]:
    """Return the values that 0 and 1 in a row stand for; an integer spans up to the next one."""
    whole = parameter.kind == "int"
    return parameter.scaled(parameter.low), parameter.scaled(parameter.high + whole)


def _options(given: Mapping[str, Any]) -> _Options:
    names = [field.name for field in fields(_Options)]
    for name, value in given.items():
        if name not in names:
            raise InvalidArgument(
                "bohb_config", f"there is no {name!r}.", f"It may have {', '.join(names)}."
            )
        if value is not None:
            check_number(f"bohb_config[{name!r}]", value, at_least=0)
    return _Options(**given)
