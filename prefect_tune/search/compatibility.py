"""Names that scripts and searchers written for Ray Tune import: messages, classes, variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import Metric, Searcher
from prefect_tune.space import RandomState, SearchSpace, VariantStream
from prefect_tune.space import RecursiveDependencyError as RecursiveDependencyError
from prefect_tune.space import grid_search as grid_search

#: To be formatted with ``cls``, ``metric`` and ``mode``.
UNDEFINED_METRIC_MODE = (
    "{cls} cannot suggest anything: it was given the metric {metric} and the mode {mode}, and "
    "needs both. Give them to {cls} or to `TuneConfig`."
)
#: To be formatted with ``cls`` and ``space``, the name of an argument.
UNDEFINED_SEARCH_SPACE = (
    "{cls} cannot suggest anything: it has no search space. Give it `{space}`, or give "
    "`param_space` to the `Tuner`."
)
#: To be formatted with ``cls`` and ``par``, the name of an argument.
UNRESOLVED_SEARCH_SPACE = (
    "`{par}`: holds domains of prefect_tune, and {cls} wants a space of its own library there. "
    "Give the domains as `param_space` to the `Tuner`, and they are converted."
)


class SearchAlgorithm:
    """Base class of `SearchGenerator`. Algorithms of your own derive from `Searcher`."""

    @property
    def metric(self) -> Metric:
        """The result key to optimise."""
        return None


class SearchGenerator(SearchAlgorithm):
    """Marks a searcher as a complete search algorithm.

    Args:
        searcher: The searcher.
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise InvalidArgument("searcher", f"must be a Searcher, got {searcher!r:.200}.")
        self.searcher = searcher

    @property
    def metric(self) -> Metric:
        """The searcher's metric."""
        return self.searcher.metric


def generate_variants(
    unresolved_spec: Mapping[str, Any],
    constant_grid_search: bool = False,
    random_state: RandomState = None,
) -> Iterator[tuple[dict[tuple[Any, ...], Any], dict[str, Any]]]:
    """Yield the configurations of a search space, with the whole grid once, in Ray Tune's form.

    Args:
        unresolved_spec: The search space.
        constant_grid_search: Draw domains once, not anew for each grid point.
        random_state: Seed, numpy ``RandomState`` or ``Generator``; None to follow
            ``np.random.seed``.

    Yields:
        The values of the variables by path, such as ``("layers", 0, "units")``; and the
        configuration.
    """
    space = SearchSpace(unresolved_spec)
    paths = {variable.name: tuple(variable.path) for variable in space.walk()}
    stream = VariantStream(
        space, constant_grid_search=constant_grid_search, random_state=random_state
    )
    for variant in stream:
        resolved = {paths.get(name, (name,)): value for name, value in variant.resolved.items()}
        yield resolved, variant.config
