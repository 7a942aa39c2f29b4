"""Ray Tune 1's import path; see `prefect_tune.experiment`."""

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources
from prefect_tune.trainable.export import ExportFormat

__all__ = ["Checkpoint", "ExportFormat", "Resources", "Trial"]
