"""Ray Tune 1's import path; see `prefect_tune.space`."""

from prefect_tune.space import generate_variants, grid_search

__all__ = ["generate_variants", "grid_search"]
