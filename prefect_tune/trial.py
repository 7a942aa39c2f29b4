"""Ray Tune 1's import path; see `prefect_tune.experiment`."""

from prefect_tune.experiment.trial import Trial

__all__ = ["Trial"]
