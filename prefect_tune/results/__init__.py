"""The results of an experiment: `ExperimentAnalysis`, `ResultGrid` and `Result`."""

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.grid import ResultGrid
from prefect_tune.results.old_analysis import Analysis
from prefect_tune.results.result import Result
from prefect_tune.trainable.tracked_checkpoint import TrackedCheckpoint

__all__ = ["Analysis", "ExperimentAnalysis", "Result", "ResultGrid", "TrackedCheckpoint"]
