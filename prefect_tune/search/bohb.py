"""`TuneBOHB`: the searcher of BOHB, for use with the scheduler `HyperBandForBOHB`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.nested import flatten
from prefect_tune.search.density import ProductDensity
from prefect_tune.search.searcher import DEFAULT_METRIC, Metric, Mode, Searcher
from prefect_tune.space import Categorical, Function, SearchSpace, Variable
from prefect_tune.validation import check_count, check_number

__all__ = ["TuneBOHB"]

_logger = logging.getLogger("prefect_tune")
Array = NDArray[np.float64]
_BUDGET = "hyperband_info/budget"


@dataclass(frozen=True, slots=True)
class _Options:
    """The options in `bohb_config`, named as in HpBandSter."""

    min_points_in_model: int | None = None
    top_n_percent: float = 15
    num_samples: int = 64
    random_fraction: float = 1 / 3
    bandwidth_factor: float = 3
    min_bandwidth: float = 1e-3


class TuneBOHB(Searcher):
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
        seed: int | None = None,
    ) -> None:
        super().__init__(metric, mode)
        check_count("max_concurrent", max_concurrent, at_least=0)
        self._options = _options(bohb_config or {})
        self._max_concurrent = max_concurrent
        self._points = [dict(point) for point in points_to_evaluate or ()]
        self._seed = seed
        self._dice = np.random.default_rng(seed)
        self._has_own_space = space is not None
        self._space: SearchSpace | None = None
        self._variables: list[Variable] = []
        self._categories: Array = np.zeros(0)
        if space is not None:
            self._use(space)
        self._rows: dict[str, Array] = {}
        self._running: set[str] = set()
        self._last_budget: dict[str, float] = {}
        # Budget -> rows and losses.
        self._seen: dict[float, tuple[list[Array], list[float]]] = {}
        self._failed: list[Array] = []

    def get_state(self) -> dict[str, Any]:
        """Return the state of the searcher, for `set_state`."""
        # `_running` is copied, since the scheduler's thread changes it. `_variables` are compared
        # by identity, so they are left out: a loaded space makes its own.
        state = {**self.__dict__, "_running": set(self._running)}
        del state["_variables"]
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of `get_state`."""
        super().set_state(state)
        if self._space is not None:
            self._use(self._space.space)

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over metric, mode and seed, and the space unless it was constructed with one."""
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        self._check_mode()
        if isinstance(self._metric, list | tuple):
            raise InvalidArgument(
                "metric", f"got {self._metric!r}.", "TuneBOHB optimises one metric; name it."
            )
        if self._seed is None and spec.get("seed") is not None:
            self._seed = spec["seed"]
            self._dice = np.random.default_rng(self._seed)
        if not self._has_own_space:
            self._use(config)
        return not self._has_own_space

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit the number of suggested trials that run at a time, without paused ones."""
        known = self._max_concurrent
        self._max_concurrent = min(known, max_concurrent) if known else max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration by the model or a random one; None at the concurrency limit."""
        if self._space is None:
            raise InvalidArgument("space", "TuneBOHB needs it.", "Give it to the experiment.")
        self._check_mode()
        if self._max_concurrent and len(self._running) >= self._max_concurrent:
            return None
        self._running.add(trial_id)
        space, row = self._space, self._suggest_row()
        if self._points:
            space = space.with_preset(self._points.pop(0))
        places = {variable.path: place for place, variable in enumerate(self._variables)}

        def draw(variable: Variable) -> Any:
            place = places.get(variable.path)
            if place is None or self._variables[place].domain is not variable.domain:
                return variable.quantile(self._dice.random())
            size = self._categories[place]
            position = (row[place] + 0.5) / size if size else row[place]
            return variable.quantile(float(position))

        config = next(space.variants(draw))
        self._rows[trial_id] = self._encode(config)
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from a result at a milestone."""
        flat = flatten(result)
        budget = flat.get(_BUDGET)
        if budget is None or trial_id not in self._rows:
            return
        if self._last_budget.get(trial_id) != budget:  # else its last result comes once more
            self._last_budget[trial_id] = float(budget)
            self._learn(trial_id, float(budget), flat)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from a failure, or from the end of a trial that came to no milestone."""
        self._running.discard(trial_id)
        if trial_id not in self._rows:
            return
        if result:
            self.on_trial_result(trial_id, result)
        if error:
            self._failed.append(self._rows[trial_id])
        elif result and trial_id not in self._last_budget:
            self._learn(trial_id, 0.0, flatten(result))
        self._last_budget.pop(trial_id, None)
        del self._rows[trial_id]

    def on_pause(self, trial_id: str) -> None:
        """Note that a trial was paused, so that it does not count for the concurrency limit."""
        self._running.discard(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Note that a paused trial runs again."""
        self._running.add(trial_id)

    def _check_mode(self) -> None:
        if self._mode is None:
            raise InvalidArgument("mode", 'TuneBOHB needs to know: "min" or "max".')

    # -- the model --------------------------------------------------------------------------------

    def _use(self, space: Any) -> None:
        if not isinstance(space, Mapping):
            raise InvalidArgument(
                "space",
                f"got {type(space).__name__}.",
                "Give a dict of domains, e.g. {'lr': tune.loguniform(1e-4, 1e-1)}.",
            )
        self._space = SearchSpace(space)
        self._variables = [
            variable
            for variable in self._space.walk()
            if variable.domain is not None and not isinstance(variable.domain, Function)
        ]
        self._categories = np.array(
            [
                len(v.domain.categories) if isinstance(v.domain, Categorical) else 0
                for v in self._variables
            ],
            dtype=float,
        )

    def _learn(self, trial_id: str, budget: float, flat: Mapping[str, Any]) -> None:
        value = number_of(flat.get(str(self._metric or DEFAULT_METRIC)))
        loss = math.inf if value is None else float(value) * (-1 if self._mode == "max" else 1)
        rows, losses = self._seen.setdefault(budget, ([], []))
        rows.append(self._rows[trial_id])
        losses.append(math.inf if math.isnan(loss) else loss)

    def _suggest_row(self) -> Array:
        """Return the next row to try: a number from 0 to 1, or a category, for each variable."""
        options, dims = self._options, len(self._variables)
        anywhere = self._dice.random(dims)
        anywhere = np.where(self._categories > 0, np.floor(anywhere * self._categories), anywhere)
        fewest = max(options.min_points_in_model or dims + 1, dims + 1)
        modelled = [budget for budget, (rows, _) in self._seen.items() if len(rows) >= fewest + 2]
        if not dims or not modelled or self._dice.random() < options.random_fraction:
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
        """Fill in values for the variables that a row's configuration does not have."""
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

    def _encode(self, config: dict[str, Any]) -> Array:
        """Return the row of a configuration, with NaN for variables that it does not have."""
        return np.array([_position(variable, config) for variable in self._variables], dtype=float)


def _position(variable: Variable, config: Any) -> float:
    value = config
    for key in variable.path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return math.nan
    domain = variable.domain
    if domain is None or not domain.is_valid(value):
        return math.nan
    if isinstance(domain, Categorical):
        return float(
            next(i for i, category in enumerate(domain.categories) if _may_be(category, value))
        )
    # Between the least position that gives the value and the least one that gives more.
    return (_first(variable, value, False) + _first(variable, value, True)) / 2


def _may_be(category: Any, value: Any) -> bool:
    return Categorical([category]).is_valid(value)


def _first(variable: Variable, value: float, above: bool) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        found = variable.quantile(middle)
        if found < value or (above and found == value):
            low = middle
        else:
            high = middle
    return high


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
