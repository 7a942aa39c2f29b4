"""Ray Tune's import path of `ExperimentAnalysis` and `Analysis`."""

from prefect_tune.results import Analysis, ExperimentAnalysis

__all__ = ["Analysis", "ExperimentAnalysis"]
