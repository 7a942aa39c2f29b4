"""Ray Tune 1's import path of the domains; see `prefect_tune.space`."""

from prefect_tune.search.sample import *  # noqa: F403
