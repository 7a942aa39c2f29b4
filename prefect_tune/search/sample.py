"""Ray Tune's import path of the domains; see `prefect_tune.space`."""

from prefect_tune.space import Categorical, Domain, Float, Function, Integer

__all__ = ["Categorical", "Domain", "Float", "Function", "Integer"]
