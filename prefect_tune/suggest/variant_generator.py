"""Ray Tune 1's import path; see `prefect_tune.search.variant_generator`."""

from prefect_tune.search.variant_generator import generate_variants, grid_search

__all__ = ["generate_variants", "grid_search"]
