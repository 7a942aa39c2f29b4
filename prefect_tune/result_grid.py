"""Ray Tune's import path of `ResultGrid`."""

from prefect_tune.results import ResultGrid

__all__ = ["ResultGrid"]
