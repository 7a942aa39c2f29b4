"""`ZOOptSearch`: classification-based optimisation of the library ZOOpt."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, domains_of, number_domain
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.search.searcher import Searcher
from prefect_tune.space import RandomState, choice

#: How often ZOOpt, which draws points at random, is asked for a new point in one step.
_TRIES = 20


class ZOOptSearch(LibrarySearcher):
    """Suggests with ASRacos of ZOOpt, which classifies regions into good and bad ones.

    It waits for the results of its first random points before it suggests more.

    Args:
        algo: "asracos", or "sracos", which is the same; Ray Tune has the argument.
        budget: Number of trials in all; None to take the experiment's ``num_samples``, or
            100 if that is endless.
        dim_dict: The search space in ZOOpt's terms, ``{"x": (CONTINUOUS, [0, 1], 0.01)}``.
        space: The search space in this package's terms; None to take the experiment's
            ``param_space``.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
        parallel_num: The most trials at a time after the first random ones; None for no limit.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        seed: Seed.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "zoopt"
    extra = "zoopt"

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: RandomState = None,
    ) -> None:
        if str(algo).lower() not in ("asracos", "sracos"):
            raise InvalidArgument("algo", f"got {algo!r}.", 'It is "asracos" or "sracos".')
        if budget is not None and (not isinstance(budget, int) or budget < 1):
            raise InvalidArgument("budget", f"must be a number of trials, got {budget!r}.")
        self.load_library()
        given = space if dim_dict is None else domains_of(dim_dict, tuple, _domain)
        super().__init__(given, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._budget = budget
        self._parallel_num = parallel_num
        self._optimizer: Any = None
        #: Points with results that ZOOpt has not suggested; reported once it is trained.
        self._known: list[tuple[Point, float]] = []
        self._random: dict[str, Any] = {}

    def _begin(self, parameters: list[Parameter]) -> None:
        zoopt = self.load_library()
        sracos = importlib.import_module("zoopt.algos.opt_algorithms.racos.sracos")
        samples = self._num_samples if self._num_samples > 0 else 100
        self._random = np.random.RandomState(self._new_seed()).get_state(legacy=False)
        self._optimizer = sracos.SRacosTune(
            dimension=zoopt.Dimension2([_dimension(zoopt.ValueType, p) for p in parameters]),
            parameter=zoopt.Parameter(budget=self._budget or samples),
            parallel_num=self._parallel_num or sys.maxsize,
        )

    def _ask(self, trial_id: str) -> Asked | None:
        for _ in range(_TRIES):
            solution: Any = self._run_with_own_random_state(self._optimizer.suggest)
            if solution != Searcher.FINISHED:
                break
        if self._optimizer.init_num == self._train_size:
            # From this call on, ZOOpt waits for the results of its random points.
            self._run_with_own_random_state(self._optimizer.suggest)
        if solution is None:
            return None
        if solution == Searcher.FINISHED:
            # ZOOpt has found no new point in the best region, but there may be others elsewhere.
            return Asked(None, self._start().random_point())
        numbers = zip((p.name for p in self._parameters), solution.get_x(), strict=True)
        return Asked(solution, self._start().unscaled(dict(numbers)))

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        if ticket is not None:
            # Failed points are reported, too, since ZOOpt may wait for their ends.
            value = math.inf if loss is None else loss
            self._run_with_own_random_state(lambda: self._optimizer.complete(ticket, value))
        elif loss is not None:
            self._known.append((point, loss))
        optimizer = self._optimizer
        if optimizer.complete_num >= self._train_size:
            known, self._known = self._known, []
            for one, value in known:
                numbers = list(self._start().scaled(one).values())
                solution = optimizer._objective.construct_solution(numbers)
                solution.set_value(value)
                self._run_with_own_random_state(
                    functools.partial(optimizer.update_classifier, solution)
                )

    @property
    def _train_size(self) -> int:
        return int(self._optimizer._parameter.get_train_size())

    def _run_with_own_random_state(self, step: Callable[[], Any]) -> Any:
        """Run a step of ZOOpt with a random stream of its own in place of numpy's global one."""
        before = np.random.get_state()
        np.random.set_state(self._random)
        try:
            return step()
        finally:
            self._random = np.random.get_state(legacy=False)
            np.random.set_state(before)


def _dimension(types: Any, parameter: Parameter) -> Any:
    if parameter.kind == "float" or parameter.log:
        low, high = parameter.scaled_bounds
        return types.CONTINUOUS, [low, high], (high - low) * 1e-9
    return types.DISCRETE, [parameter.low, parameter.high], parameter.kind == "int"


def _domain(entry: Any) -> Any:
    """Convert a dimension in ZOOpt's form to a domain."""
    types = importlib.import_module("zoopt").ValueType
    kind, values = entry[0], list(entry[1])
    if kind in (types.CONTINUOUS, types.DISCRETE):
        low, high = values
        return number_domain(low, high, whole=kind == types.DISCRETE, log=False)
    return choice(values)
