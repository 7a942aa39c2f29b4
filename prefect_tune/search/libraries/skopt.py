"""`SkOptSearch`: Gaussian processes and forests of the library scikit-optimize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, domains_of, number_domain
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import RandomState, choice


class SkOptSearch(LibrarySearcher):
    """Suggests with an optimiser of scikit-optimize, by default a Gaussian process.

    Running trials are assumed to end as well as the best one (a constant liar), so that parallel
    suggestions differ.

    Args:
        optimizer: Arguments of `skopt.Optimizer`, such as ``{"base_estimator": "RF"}``; by default
            it gets the search space and the seed. Or an optimiser, which has a space and a seed.
        space: The search space, or a tuple of bounds, list of choices or `skopt.space.Dimension`
            for each parameter; None to take the experiment's ``param_space``. With an optimiser,
            the names of its dimensions; None if they have names.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first; with an optimiser, also lists of values.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        convert_to_python: Values are always of Python's own types; Ray Tune has the argument.
        seed: Seed.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "skopt"
    extra = "skopt"

    def __init__(
        self,
        optimizer: Any = None,
        space: Mapping[str, Any] | Sequence[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Any] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        convert_to_python: bool = True,
        seed: RandomState = None,
    ) -> None:
        skopt = self.load_library()
        self._given: Any = None
        if isinstance(optimizer, skopt.Optimizer):
            self._given = optimizer
            space = _space_of(optimizer, space)
            points_to_evaluate = [
                point if isinstance(point, Mapping) else dict(zip(space, point, strict=True))
                for point in points_to_evaluate or ()
            ]
        elif not isinstance(optimizer, Mapping | None):
            raise InvalidArgument(
                "optimizer",
                f"got {type(optimizer).__name__}.",
                "Give a skopt.Optimizer, or its arguments as a dict without the space.",
            )
        domains = domains_of(space, (tuple, list, skopt.space.Dimension), _domain)
        super().__init__(domains, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._options = {} if self._given else dict(optimizer or {})
        self._names = list(space) if self._given and space else []
        self._optimizer: Any = None

    @property
    def _skopt_opt(self) -> Any:
        """The optimiser, by the name that scripts for Ray Tune know it by."""
        self._start()
        return self._optimizer

    def _begin(self, parameters: list[Parameter]) -> None:
        self._optimizer = self._given
        if self._given is None:
            options = {"random_state": self._new_seed(), **self._options}
            self._names = [p.name for p in parameters]
            dimensions = [_dimension(p) for p in parameters]
            self._optimizer = self.load_library().Optimizer(dimensions, **options)

    def _ask(self, trial_id: str) -> Asked:
        optimizer, pending = self._optimizer, self._pending
        if pending and optimizer.yi and optimizer._n_initial_points <= len(pending):
            # Without a result in between, the optimiser would suggest the same point again.
            optimizer = optimizer.copy(random_state=self._new_seed())
            optimizer.tell(list(map(self._numbers, pending)), [min(optimizer.yi)] * len(pending))
        asked = {
            name: dimension.categories.index(value) if _is_choice(dimension) else value
            for name, dimension, value in zip(
                self._names, self._dimensions, optimizer.ask(), strict=True
            )
        }
        return Asked(trial_id, self._start().rounded(asked))

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        if loss is not None:
            self._optimizer.tell(self._numbers(point), loss)

    @property
    def _dimensions(self) -> list[Any]:
        dimensions: list[Any] = self._optimizer.space.dimensions
        return dimensions

    def _numbers(self, point: Point) -> list[Any]:
        """Convert a point to the optimiser's values, the categories themselves for choices."""
        # A choice of one category is no parameter, and not in the point.
        return [
            dimension.categories[point.get(name, 0)] if _is_choice(dimension) else point[name]
            for name, dimension in zip(self._names, self._dimensions, strict=True)
        ]


def _is_choice(dimension: Any) -> bool:
    return hasattr(dimension, "categories")


def _space_of(optimizer: Any, names: Any) -> dict[str, Any]:
    """Convert the space of an optimiser to this package's domains, with the user's names."""
    dimensions = optimizer.space.dimensions
    names = [dimension.name for dimension in dimensions] if names is None else list(names)
    if len(names) != len(dimensions) or not all(isinstance(name, str) for name in names):
        raise InvalidArgument(
            "space",
            f"must name the {len(dimensions)} dimensions of the optimizer, got {names!r}.",
        )
    return {name: _domain_of(dimension) for name, dimension in zip(names, dimensions, strict=True)}


def _dimension(parameter: Parameter) -> Any:
    from skopt.space import Categorical, Integer, Real

    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == "choice":
        return Categorical(list(range(high + 1)), name=name)
    prior = "log-uniform" if parameter.log else "uniform"
    return (Real if parameter.kind == "float" else Integer)(low, high, prior=prior, name=name)


def _domain_of(dimension: Any) -> Any:
    if _is_choice(dimension):
        return choice(list(dimension.categories))
    whole, log = type(dimension).__name__ != "Real", dimension.prior == "log-uniform"
    low, high = map(int if whole else float, (dimension.low, dimension.high))
    return number_domain(low, high, whole=whole, log=log)


def _domain(bounds: Any) -> Any:
    """Convert skopt's bounds ``(low, high)``, list of choices or dimension to a domain."""
    from skopt.space import check_dimension

    if isinstance(bounds, list):  # skopt still takes some lists of numbers for bounds
        return choice(bounds)
    return _domain_of(check_dimension(bounds))
