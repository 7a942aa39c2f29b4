"""Ray Tune's import path of variant generation; see `prefect_tune.space`."""

from prefect_tune.space import RecursiveDependencyError, generate_variants, grid_search

__all__ = ["RecursiveDependencyError", "generate_variants", "grid_search"]
