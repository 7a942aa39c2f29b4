"""`AutoSearch`: a searcher that chooses a searcher for an experiment."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any, NamedTuple

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import Metric, Mode, Searcher, check_metric_and_mode
from prefect_tune.search.wrapper import SearcherWrapper
from prefect_tune.space import Float, RandomState, SearchSpace, random_draw
from prefect_tune.space.random import own_stream

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """The choice of a searcher, with the reason.

    Attributes:
        name: Name of the searcher in the registry.
        arguments: Arguments of the searcher's class.
        why: The reason, as a part of a sentence.
    """

    name: str
    arguments: dict[str, Any]
    why: str


class AutoSearch(SearcherWrapper):
    """Chooses a searcher by the space, the number of trials and how many run at a time.

    Random search where nothing could be learnt in time, the Gaussian process of `BayesOptSearch`
    for few continuous parameters and few trials, and the Parzen estimator of `OptunaSearch` for
    all else; of these, what is installed. The log says which one it is and why. An experiment that
    is resumed goes on with the one it has begun with.

    Args:
        metric: Result key to optimise; a list of them for several objectives.
        mode: "min" or "max"; a list for several objectives.
        seed: Seed.
    """

    def __init__(self, metric: Metric = None, mode: Mode = None, seed: RandomState = None) -> None:
        check_metric_and_mode(metric, mode)
        super().__init__(_RandomSearch(metric, mode))
        self._given_metric = metric
        self._given_mode = mode
        self._seed = seed
        self._max_concurrent = 0
        self._choice: Choice | None = None
        self._offer: tuple[Any, ...] = ()

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Note how many trials run at a time; a `ConcurrencyLimiter` has to limit them."""
        self._max_concurrent = max_concurrent
        return False

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Choose a searcher, and offer it the experiment's metric, mode and space."""
        metric, mode = metric or self._given_metric, mode or self._given_mode
        if mode is None:
            raise InvalidArgument("mode", "AutoSearch needs it.", 'Give "min" or "max".')
        if self._seed is not None:
            spec["seed"] = self._seed
        choice = choose(
            SearchSpace(config), metric, spec.get("num_samples", -1), self._max_concurrent
        )
        logger.warning("search_alg='auto' takes %s: %s", choice.name, choice.why)
        self._offer = metric, mode, config, spec
        return self._use_choice(choice)

    def saved_as(self) -> tuple[str, str | None]:
        """Return its own name whatever it chose, and the library of that."""
        return type(self).__name__, self.searcher.saved_as()[1]

    def get_state(self) -> dict[str, Any]:
        """Return the choice and the state of the chosen searcher."""
        return {"choice": self._choice, "searcher": self.searcher.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the chosen searcher and its state from a state of `get_state`."""
        if state["choice"] is not None and state["choice"] != self._choice and self._offer:
            self._use_choice(state["choice"])
        self._choice = state["choice"]
        self.searcher.set_state(state["searcher"])

    def _use_choice(self, choice: Choice) -> bool:
        from prefect_tune.search.registry import create_searcher

        if self._choice != choice:
            self._choice = choice
            if choice.name == "random":
                self.searcher = _RandomSearch()
            else:
                searcher = create_searcher(choice.name, **choice.arguments)
                assert isinstance(searcher, Searcher)  # noqa: S101 - `choose` names no other
                self.searcher = searcher
        metric, mode, config, spec = self._offer
        return super().set_search_properties(metric, mode, config, **spec)


def choose(space: SearchSpace, metric: Metric, num_samples: int, max_concurrent: int) -> Choice:
    """Choose a searcher for an experiment.

    Args:
        space: The search space.
        metric: The metric to optimise.
        num_samples: Number of trials; -1 for endlessly many.
        max_concurrent: The most trials that run at a time; 0 for no limit.
    """
    domains = [variable.domain for variable in space.walk() if variable.function is None]
    trials = "endlessly many" if num_samples < 0 else str(num_samples)
    parallel = max_concurrent or 1
    if not domains:
        return Choice("random", {}, "the space has no variables")
    if 0 <= num_samples <= max(parallel, 5):
        return Choice("random", {}, f"of {trials} trials, {parallel} at a time, none could learn")
    if not _is_installed("optuna"):
        why = "Optuna is not installed (pip install 'prefect-tune[optuna]')"
        return Choice("random", {}, why)
    continuous = all(isinstance(domain, Float) for domain in domains)
    kinds = f"parameters: {len(domains)}, {'all' if continuous else 'not all'} continuous"
    few = len(domains) <= 6 and 0 <= num_samples <= 100 and parallel <= 8
    single = not isinstance(metric, list | tuple)
    if continuous and few and single and _is_installed("bayes_opt"):
        why = f"{kinds}; trials: {trials}; a Gaussian process needs the fewest"
        return Choice("bayesopt", {}, why)
    why = f"{kinds}; trials: {trials}; its Parzen estimator suits all spaces"
    return Choice("optuna", {}, why)


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class _RandomSearch(Searcher):
    """Random search with the interface of a searcher."""

    def __init__(self, metric: Metric = None, mode: Mode = None) -> None:
        super().__init__(metric, mode)
        self._space: SearchSpace | None = None
        self._stream = own_stream(0)

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over metric, mode, space and seed."""
        self._metric, self._mode = metric, mode
        self._space = SearchSpace(config)
        self._stream = own_stream(spec.get("seed"))
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a random configuration of the space."""
        if self._space is None:
            raise InvalidArgument("space", "AutoSearch has no search space.", "Use param_space.")
        return next(self._space.variants(random_draw(self._stream)))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing."""
