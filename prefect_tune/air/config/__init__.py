"""Ray AIR's path of the configurations: ``from prefect_tune.air.config import RunConfig``."""

from typing import Any

from prefect_tune import not_yet
from prefect_tune.config import CheckpointConfig, FailureConfig, RunConfig

__all__ = ["CheckpointConfig", "FailureConfig", "RunConfig"]


def __getattr__(name: str) -> Any:
    raise not_yet.no_attribute(__name__, name)
