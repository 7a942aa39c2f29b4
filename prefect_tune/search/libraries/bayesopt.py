"""`BayesOptSearch`: Gaussian processes of the library bayesian-optimization."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, domains_of
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.search.searcher import Searcher
from prefect_tune.space import RandomState, uniform

_KINDS = {
    # name -> (class of bayes_opt.acquisition, utility_kwargs -> its arguments)
    "ucb": (
        "UpperConfidenceBound",
        {
            "kappa": "kappa",
            "kappa_decay": "exploration_decay",
            "kappa_decay_delay": "exploration_decay_delay",
        },
    ),
    "ei": ("ExpectedImprovement", {"xi": "xi"}),
    "poi": ("ProbabilityOfImprovement", {"xi": "xi"}),
}
_DEFAULTS = {"kind": "ucb", "kappa": 2.576, "xi": 0.0}
_limiting = threading.Lock()


class BayesOptSearch(LibrarySearcher):
    """Suggests with a Gaussian process of the library bayesian-optimization.

    Suited for few continuous parameters: a suggestion takes 0.1 to 1 s, and more with the number of
    trials. Integers are searched as floats and rounded. Running trials are assumed to end as well
    as the best one (a constant liar), so that parallel suggestions differ.

    Args:
        space: The search space, or bounds for each parameter, ``{"x": (0, 1)}``; None to take the
            experiment's ``param_space``.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
        utility_kwargs: The acquisition function: ``kind`` "ucb" with ``kappa``, ``kappa_decay``
            and ``kappa_decay_delay``, or "ei" or "poi" with ``xi``. Default
            ``{"kind": "ucb", "kappa": 2.576}``.
        random_state: Seed.
        random_search_steps: Number of random suggestions before the process is fitted.
        verbose: The library's level of output.
        patience: The search ends after this number of consecutive repeated suggestions.
        skip_duplicate: Whether a configuration is suggested only once.
        analysis: An earlier `ExperimentAnalysis`, from whose trials to learn.
        repeat_float_precision: Decimals, of the share of a range, to which suggestions are
            compared.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "bayes_opt"
    extra = "bayesopt"

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: Mapping[str, Any] | None = None,
        random_state: RandomState = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
        evaluated_rewards: Sequence[float] | None = None,
    ) -> None:
        space = domains_of(space, tuple, lambda bounds: uniform(*bounds))
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, random_state)
        self._utility = _checked_utility(
            dict(_DEFAULTS if utility_kwargs is None else utility_kwargs)
        )
        self._random_steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skips_duplicates = skip_duplicate
        self._analysis = analysis
        self.repeat_float_precision = repeat_float_precision
        self._seen: set[tuple[float, ...]] = set()
        self._optimizer: Any = None

    @classmethod
    def _check_parameter(cls, parameter: Parameter) -> None:
        if parameter.kind == "choice":
            raise InvalidArgument(
                "param_space",
                f"BayesOptSearch cannot search the choice at {parameter.name!r}: it knows numbers "
                "only.",
                "Use OptunaSearch, HyperOptSearch or SkOptSearch for spaces with choices.",
            )

    def _begin(self, parameters: list[Parameter]) -> None:
        bayes_opt = self.load_library()
        if not hasattr(bayes_opt, "acquisition"):
            raise InvalidArgument(
                "search_alg",
                "BayesOptSearch needs bayesian-optimization 2 or newer (nevergrad pins an older "
                "one: the two do not go together in one environment).",
                "pip install 'prefect-tune[bayesopt]'",
            )
        name, arguments = _KINDS[self._utility["kind"]]
        base = getattr(bayes_opt.acquisition, name)(
            **{new: self._utility[old] for old, new in arguments.items() if old in self._utility}
        )
        self._optimizer = bayes_opt.BayesianOptimization(
            f=None,
            pbounds={p.name: p.scaled_bounds for p in parameters},
            acquisition_function=bayes_opt.acquisition.ConstantLiar(base),
            random_state=self._new_seed(),
            verbose=self._verbose,
            allow_duplicate_points=True,
        )
        if self._analysis is not None:
            analysis, self._analysis = self._analysis, None
            self.add_evaluated_trials(analysis, str(self._metric))

    def _ask(self, trial_id: str) -> Asked | str | None:
        for _ in range(max(self._patience, 1)):
            point = self._next_point()
            if self._is_new(point) or not self._skips_duplicates:
                return Asked(trial_id, point)
        return Searcher.FINISHED

    def _next_point(self) -> Point:
        optimizer, space = self._optimizer, self._start()
        if len(self._seen) < self._random_steps or len(optimizer.space) == 0:
            return space.random_point()
        optimizer.acquisition_function.dummies = [
            optimizer.space.params_to_array(space.scaled(point)) for point in self._pending
        ]
        with _one_thread():
            return space.unscaled(optimizer.suggest())

    def _is_new(self, point: Point) -> bool:
        """Note a point, and return whether it is new when rounded."""
        key = []
        for p in self._parameters:
            low, high = p.scaled_bounds
            key.append(
                round((p.scaled(point[p.name]) - low) / (high - low), self.repeat_float_precision)
            )
        before = len(self._seen)
        self._seen.add(tuple(key))
        return len(self._seen) > before

    def _attach(self, trial_id: str, point: Point) -> Any:
        self._is_new(point)
        return trial_id

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        if loss is not None:
            self._is_new(point)
            self._optimizer.register(params=self._start().scaled(point), target=-loss)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep native libraries to one thread inside.

    Matrices are so small that several threads would wait for each other most of the time.
    """
    from threadpoolctl import threadpool_limits  # it comes with the library

    # What was before is restored, so two sweeps of a process take turns.
    with _limiting, threadpool_limits(1):
        yield


def _checked_utility(given: dict[str, Any]) -> dict[str, Any]:
    kind = given.setdefault("kind", "ucb")
    if kind not in _KINDS:
        raise InvalidArgument(
            "utility_kwargs", f"has the kind {kind!r}.", f"Known: {', '.join(_KINDS)}."
        )
    known = {"kind", *(name for _, arguments in _KINDS.values() for name in arguments)}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidArgument(
            "utility_kwargs",
            f"has {', '.join(map(repr, unknown))}.",
            f"Known: {', '.join(sorted(known))}.",
        )
    return given
