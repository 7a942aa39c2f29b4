"""Ray Tune 1's import path; see `prefect_tune.search`."""

from prefect_tune.search import SearchAlgorithm

__all__ = ["SearchAlgorithm"]
