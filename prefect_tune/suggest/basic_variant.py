"""Ray Tune 1's import path; see `prefect_tune.search`."""

from prefect_tune.search import BasicVariantGenerator

__all__ = ["BasicVariantGenerator"]
