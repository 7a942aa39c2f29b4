"""`OptunaSearch`: search with Optuna, which is imported when a search begins."""

from prefect_tune.search.optuna.optuna_search import OptunaSearch

__all__ = ["OptunaSearch"]
