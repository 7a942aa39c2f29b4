"""The registry of search algorithms, `SEARCHERS`, to which new ones are added."""

from __future__ import annotations

from typing import Any

from prefect_tune.named_classes import ClassRegistry, NamedClass
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.searcher import Searcher

_PACKAGE = "prefect_tune.search"

#: The algorithms that `create_searcher`, `search_alg=`, the deployable flow and the docs know.
SEARCHERS: ClassRegistry[Searcher | BasicVariantGenerator] = ClassRegistry(
    "search_alg",
    _PACKAGE,
    NamedClass(
        "random", f"{_PACKAGE}.basic_variant", "BasicVariantGenerator", ("variant_generator",)
    ),
    NamedClass("optuna", f"{_PACKAGE}.optuna", "OptunaSearch"),
    NamedClass("bohb", f"{_PACKAGE}.bohb", "TuneBOHB"),
    NamedClass("hyperopt", f"{_PACKAGE}.libraries.hyperopt", "HyperOptSearch"),
    NamedClass("bayesopt", f"{_PACKAGE}.libraries.bayesopt", "BayesOptSearch"),
    NamedClass("skopt", f"{_PACKAGE}.libraries.skopt", "SkOptSearch"),
    NamedClass("nevergrad", f"{_PACKAGE}.libraries.nevergrad", "NevergradSearch"),
    NamedClass("ax", f"{_PACKAGE}.libraries.ax", "AxSearch"),
    NamedClass("blendsearch", f"{_PACKAGE}.libraries.flaml", "BlendSearch"),
    NamedClass("cfo", f"{_PACKAGE}.libraries.flaml", "CFO"),
    NamedClass("zoopt", f"{_PACKAGE}.libraries.zoopt", "ZOOptSearch"),
    NamedClass("auto", f"{_PACKAGE}.auto", "AutoSearch"),
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
