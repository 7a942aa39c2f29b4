"""Ray AIR's paths."""

from prefect_tune.air import session as session
