"""`SkOptSearch`: Gaussian processes and forests of the library scikit-optimize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, domains_of
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import RandomState, choice, randint, uniform


class SkOptSearch(LibrarySearcher):
    """Suggests with an optimiser of scikit-optimize, by default a Gaussian process.

    Running trials are assumed to end as well as the best one (a constant liar), so that parallel
    suggestions differ.

    Args:
        optimizer: Arguments of `skopt.Optimizer`, such as ``{"base_estimator": "RF"}``; by default
            it gets the search space and the seed.
        space: The search space, or a tuple of bounds or list of choices for each parameter; None to
            take the experiment's ``param_space``.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
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
        optimizer: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        convert_to_python: bool = True,
        seed: RandomState = None,
    ) -> None:
        if optimizer is not None and not isinstance(optimizer, Mapping):
            raise InvalidArgument(
                "optimizer",
                f"got {type(optimizer).__name__}.",
                "Give the arguments of skopt.Optimizer as a dict; the space is separate.",
            )
        space = domains_of(space, (tuple, list), _domain)
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._options = dict(optimizer or {})
        self._parameters: list[Parameter] = []
        self._optimizer: Any = None

    @property
    def _skopt_opt(self) -> Any:
        """The optimiser, by the name that scripts for Ray Tune know it by."""
        self._start()
        return self._optimizer

    def _begin(self, parameters: list[Parameter]) -> None:
        skopt = self.load_library()
        self._parameters = parameters
        options = {"random_state": self._new_seed(), **self._options}
        self._optimizer = skopt.Optimizer([_dimension(p) for p in parameters], **options)

    def _ask(self, trial_id: str) -> Asked:
        optimizer, pending = self._optimizer, self._pending
        if pending and optimizer.yi and optimizer._n_initial_points <= len(pending):
            # Without a result in between, the optimiser would suggest the same point again.
            optimizer = optimizer.copy(random_state=self._new_seed())
            optimizer.tell(list(map(self._numbers, pending)), [min(optimizer.yi)] * len(pending))
        numbers = zip((p.name for p in self._parameters), optimizer.ask(), strict=True)
        return Asked(trial_id, self._start().rounded(dict(numbers)))

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        if loss is not None:
            self._optimizer.tell(self._numbers(point), loss)

    def _numbers(self, point: Point) -> list[Any]:
        return [point[p.name] for p in self._parameters]


def _dimension(parameter: Parameter) -> Any:
    from skopt.space import Categorical, Integer, Real

    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == "choice":
        return Categorical(list(range(high + 1)), name=name)
    prior = "log-uniform" if parameter.log else "uniform"
    return (Real if parameter.kind == "float" else Integer)(low, high, prior=prior, name=name)


def _domain(bounds: Any) -> Any:
    """Convert skopt's bounds ``(low, high)`` or list of choices to a domain."""
    if isinstance(bounds, tuple) and len(bounds) == 2:
        if all(type(bound) is int for bound in bounds):
            return randint(bounds[0], bounds[1] + 1)
        if all(isinstance(bound, int | float) for bound in bounds):
            return uniform(*bounds)
    return choice(list(bounds))
