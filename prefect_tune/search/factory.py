"""Make the trial source of an experiment from its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.auto import AutoSearch
from prefect_tune.search.basic_variant import BasicVariantGenerator, VariantSource
from prefect_tune.search.compatibility import SearchAlgorithm, SearchGenerator
from prefect_tune.search.registry import SEARCHERS, create_searcher
from prefect_tune.search.searcher import Metric, Mode, Searcher, check_metric_and_mode
from prefect_tune.search.searcher_source import SearcherSource
from prefect_tune.search.source import TrialSource
from prefect_tune.search.warm_start import Evaluated, best_points, fitting
from prefect_tune.search.wrapper import ConcurrencyLimiter
from prefect_tune.space import SearchSpace, check_num_samples
from prefect_tune.validation import check_count


def make_source(
    search_alg: Searcher | BasicVariantGenerator | SearchGenerator | str | None = None,
    space: Mapping[str, Any] | None = None,
    num_samples: int = 1,
    metric: Metric = None,
    mode: Mode = None,
    max_concurrent: int | None = None,
    seed: int | None = None,
    evaluated: Sequence[Evaluated] = (),
) -> TrialSource:
    """Check the search arguments of an experiment and make its trial source.

    Args:
        search_alg: An algorithm, its name, or None for random and grid search.
        space: The search space.
        num_samples: Samples of the space (each one the whole grid); -1 for endlessly many.
        metric: Result key to optimise.
        mode: "min" or "max".
        max_concurrent: Limit of unfinished trials; None or 0 for none.
        seed: Seed of ids, and of algorithms without a seed of their own.
        evaluated: Configurations whose values are known already.

    Raises:
        InvalidArgument: An argument is wrong; the error names it.
        RecursiveDependencyError: Functions of the space depend on each other.
    """
    check_num_samples(num_samples)
    check_metric_and_mode(metric, mode)
    limit = max_concurrent or 0
    check_count("max_concurrent_trials", limit, at_least=0)
    parsed = SearchSpace({} if space is None else space)
    algorithm = create_searcher(search_alg) if isinstance(search_alg, str) else search_alg
    if isinstance(algorithm, SearchGenerator):
        algorithm = algorithm.searcher
    if algorithm is None or (
        isinstance(algorithm, AutoSearch) and any(v.grid is not None for v in parsed.walk())
    ):
        algorithm = BasicVariantGenerator()
    if isinstance(algorithm, BasicVariantGenerator):
        if limit and algorithm.max_concurrent not in (0, limit):
            raise InvalidArgument(
                "max_concurrent_trials",
                f"is {limit}, but the BasicVariantGenerator has "
                f"max_concurrent={algorithm.max_concurrent}.",
                "Give only one of the two.",
            )
        points = best_points(fitting(parsed, evaluated), mode) if evaluated else []
        return VariantSource(algorithm, parsed, num_samples, limit, seed, points)
    if isinstance(algorithm, Searcher):
        if limit and not algorithm.set_max_concurrency(limit):
            algorithm = ConcurrencyLimiter(algorithm, limit)
        return SearcherSource(algorithm, parsed, num_samples, metric, mode, seed, evaluated)
    raise InvalidArgument(
        "search_alg",
        f"must be a Searcher, a BasicVariantGenerator or a name, got {algorithm!r:.200}.",
        "A search algorithm of your own derives from prefect_tune.search.Searcher."
        if isinstance(algorithm, SearchAlgorithm)
        else f"Names: {', '.join(SEARCHERS.names)}.",
    )
