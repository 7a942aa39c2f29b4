"""Ray Tune's import path of `SearchGenerator`; see `prefect_tune.search.search_algorithm`."""

from prefect_tune.search.search_algorithm import SearchGenerator

__all__ = ["SearchGenerator"]
