"""Ray Tune's import path of `ExperimentAnalysis`."""

from prefect_tune.results import ExperimentAnalysis

__all__ = ["ExperimentAnalysis"]
