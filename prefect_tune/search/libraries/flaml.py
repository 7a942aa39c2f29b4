"""`BlendSearch` and `CFO`: local search of the library FLAML, with or without global search."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

from prefect_tune.search.libraries.base import Asked, LibrarySearcher, import_library
from prefect_tune.search.optuna.stored import quiet_optuna
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import RandomState

#: How often it is asked for a new point while nothing runs.
_TRIES = 20


class BlendSearch(LibrarySearcher):
    """Suggests with FLAML's blend of local and global search; it needs Optuna, too.

    Args:
        metric: Result key to optimise.
        mode: "min" or "max".
        space: The search space; None to take the experiment's ``param_space``.
        low_cost_partial_config: Values of some parameters at which trials are cheap; the local
            search starts there.
        cat_hp_cost: The relative costs of the values of choices, ``{"depth": [1, 2, 4]}``.
        points_to_evaluate: Configs to try first.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        time_budget_s: Seconds the search may take: costs of trials then count.
        seed: Seed; Ray Tune's and FLAML's default is 20.

    Raises:
        InvalidArgument: An argument is wrong, or a library is not installed.
    """

    library = "flaml"
    extra = "flaml"
    _class_name: ClassVar[str] = "BlendSearch"

    def __init__(
        self,
        metric: str | None = None,
        mode: str | None = None,
        space: Mapping[str, Any] | None = None,
        low_cost_partial_config: Mapping[str, Any] | None = None,
        cat_hp_cost: Mapping[str, Any] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        time_budget_s: float | None = None,
        seed: RandomState = 20,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._low_cost = dict(low_cost_partial_config or {})
        self._cat_hp_cost = dict(cat_hp_cost or {})
        self._time_budget_s = time_budget_s
        self._searcher: Any = None

    @classmethod
    def load_library(cls) -> Any:
        """Import FLAML, and Optuna for `BlendSearch`."""
        if cls._class_name == "BlendSearch":
            import_library("optuna", cls.__name__, cls.extra)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parts of FLAML that are not used here
            return import_library(cls.library, cls.__name__, cls.extra)

    def _begin(self, parameters: list[Parameter]) -> None:
        flaml = self.load_library()
        names = {p.name: name for name, p in self._named().items()}
        low_cost = self._start().point(self._low_cost)
        arguments = {
            "metric": "loss",
            "mode": "min",
            "space": {name: _domain(p) for name, p in self._named().items()},
            "low_cost_partial_config": {names[n]: value for n, value in low_cost.items()} or None,
            "cat_hp_cost": {names[n]: costs for n, costs in self._cat_hp_cost.items()} or None,
            "time_budget_s": self._time_budget_s,
            "seed": self._new_seed(),
        }
        with quiet_optuna() if self._class_name == "BlendSearch" else nullcontext():
            self._searcher = getattr(flaml, self._class_name)(**arguments)

    def _named(self) -> dict[str, Parameter]:
        """Return the parameters by the names that FLAML knows, which may not have a "/"."""
        return {p.name.replace("/", "."): p for p in self._parameters}

    def _ask(self, trial_id: str) -> Asked | str | None:
        found = self._searcher.suggest(trial_id)
        for _ in range(_TRIES):
            if isinstance(found, dict) or self._running:
                break
            # It has come to a point that it knows, and there is no result to wait for.
            found = self._searcher.suggest(trial_id)
        if not isinstance(found, dict):
            return None if self._running else Asked(None, self._start().random_point())
        numbers = {p.name: float(found[name]) for name, p in self._named().items()}
        return Asked(trial_id, self._start().rounded(numbers))

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        trial_id = ticket or f"known-{self._new_seed()}"
        if loss is None:
            self._searcher.on_trial_complete(trial_id, None, error=True)
        else:
            config = {name: point[p.name] for name, p in self._named().items()}
            result = {"config": config, "loss": loss, "time_total_s": 1}
            self._searcher.on_trial_complete(trial_id, result)


class CFO(BlendSearch):
    """Suggests with FLAML's cost-frugal local search.

    Args:
        metric: Result key to optimise.
        mode: "min" or "max".
        space: The search space; None to take the experiment's ``param_space``.
        low_cost_partial_config: Values of some parameters at which trials are cheap; the search
            starts there.
        cat_hp_cost: The relative costs of the values of choices, ``{"depth": [1, 2, 4]}``.
        points_to_evaluate: Configs to try first.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        time_budget_s: Seconds the search may take: costs of trials then count.
        seed: Seed; Ray Tune's and FLAML's default is 20.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    _class_name = "CFO"


def _domain(parameter: Parameter) -> Any:
    tune = importlib.import_module("flaml.tune")
    low, high = parameter.low, parameter.high
    if parameter.kind == "choice":
        return tune.choice(list(range(high + 1)), order=False)
    if parameter.kind == "int":
        return (tune.lograndint if parameter.log else tune.randint)(low, high + 1)
    return (tune.loguniform if parameter.log else tune.uniform)(low, high)
