"""Ray Tune's import path of `TuneConfig`."""

from prefect_tune.config import TuneConfig

__all__ = ["TuneConfig"]
