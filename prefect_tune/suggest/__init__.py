"""The name that `prefect_tune.search` had in Ray Tune 1."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    Repeater,
    Searcher,
    create_searcher,
    grid_search,
)

__all__ = [
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "Repeater",
    "Searcher",
    "create_searcher",
    "grid_search",
]


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
