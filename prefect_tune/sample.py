"""Ray Tune 1's import path of the domains; see `prefect_tune.space`."""

from prefect_tune.search.sample import Categorical, Domain, Float, Function, Integer

__all__ = ["Categorical", "Domain", "Float", "Function", "Integer"]
