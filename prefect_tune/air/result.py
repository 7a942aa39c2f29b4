"""Ray AIR's path of the result of a trial."""

from prefect_tune.results import Result

__all__ = ["Result"]
