"""The name that `prefect_tune.search` had in Ray Tune 1."""

from prefect_tune.search import ConcurrencyLimiter, Repeater, Searcher, create_searcher

__all__ = ["ConcurrencyLimiter", "Repeater", "Searcher", "create_searcher"]
