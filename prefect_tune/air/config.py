"""Ray AIR's path of the configurations: ``from prefect_tune.air.config import RunConfig``."""

from prefect_tune.config import CheckpointConfig, FailureConfig, RunConfig

__all__ = ["CheckpointConfig", "FailureConfig", "RunConfig"]
