"""The registry of search algorithms, `SEARCHERS`, to which new ones are added."""

from __future__ import annotations

from typing import Any

from prefect_tune.named_classes import ClassRegistry
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.searcher import Searcher

#: The algorithms that `create_searcher`, `search_alg=`, the deployable flow and the docs know.
SEARCHERS: ClassRegistry[Searcher | BasicVariantGenerator] = ClassRegistry(
    "search_alg",
    "prefect_tune.search",
    {
        "random variant_generator": "basic_variant.BasicVariantGenerator",
        "optuna": "optuna.OptunaSearch",
        "bohb": "bohb.TuneBOHB",
        "hyperopt": "libraries.hyperopt.HyperOptSearch",
        "bayesopt": "libraries.bayesopt.BayesOptSearch",
        "skopt": "libraries.skopt.SkOptSearch",
        "nevergrad": "libraries.nevergrad.NevergradSearch",
        "ax": "libraries.ax.AxSearch",
        "blendsearch": "libraries.flaml.BlendSearch",
        "cfo": "libraries.flaml.CFO",
        "zoopt": "libraries.zoopt.ZOOptSearch",
        "auto": "auto.AutoSearch",
    },
)


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher | BasicVariantGenerator:
    """Make a search algorithm by its name, e.g. ``create_searcher("optuna", seed=1)``.

    Args:
        search_alg: One of the names in `SEARCHERS`, such as ``random`` (or ``variant_generator``)
            for `BasicVariantGenerator` and ``optuna`` for `OptunaSearch`.
        **kwargs: Arguments of its class; those it does not have are ignored, as in Ray Tune.

    Raises:
        InvalidArgument: If there is no such algorithm, or an argument is out of its range.
    """
    return SEARCHERS.create(search_alg, **kwargs)
