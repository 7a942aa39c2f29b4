"""The name that `prefect_tune.search` had in Ray Tune 1."""

from typing import Any

from prefect_tune import not_yet
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
    raise not_yet.no_attribute(__name__, name)
