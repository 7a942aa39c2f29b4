"""Ray Tune's import path; see `prefect_tune.utils`."""

from prefect_tune.utils import *  # noqa: F403
