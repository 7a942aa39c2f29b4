"""Ray Tune 1's import path; see `prefect_tune.search.optuna`."""

from prefect_tune.search.optuna import OptunaSearch

__all__ = ["OptunaSearch"]
