"""Search algorithms, which choose the configurations to try."""

from typing import TYPE_CHECKING, Any

from prefect_tune._ray import paths
from prefect_tune.search.basic_variant import BasicVariantGenerator, VariantSource
from prefect_tune.search.compatibility import (
    UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE,
    UNRESOLVED_SEARCH_SPACE,
    SearchAlgorithm,
    SearchGenerator,
)
from prefect_tune.search.factory import make_source
from prefect_tune.search.registry import SEARCHERS, create_searcher
from prefect_tune.search.searcher import DEFAULT_METRIC, Searcher
from prefect_tune.search.searcher_source import SearcherSource
from prefect_tune.search.source import FINISHED, Finished, Suggestion, TrialSource
from prefect_tune.search.wrapper import ConcurrencyLimiter, Repeater, SearcherWrapper
from prefect_tune.space import grid_search

if TYPE_CHECKING:
    from prefect_tune.search.optuna import OptunaSearch

__all__ = [
    "DEFAULT_METRIC",
    "FINISHED",
    "SEARCHERS",
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "Finished",
    "OptunaSearch",
    "Repeater",
    "SearchAlgorithm",
    "SearchGenerator",
    "Searcher",
    "SearcherSource",
    "SearcherWrapper",
    "Suggestion",
    "TrialSource",
    "VariantSource",
    "create_searcher",
    "grid_search",
    "make_source",
]


def __getattr__(name: str) -> Any:
    if name == "OptunaSearch":
        from prefect_tune.search.optuna import OptunaSearch

        return OptunaSearch
    return paths.attribute(__name__, name)
