"""Ray AIR's path of the configurations: ``from prefect_tune.air.config import RunConfig``."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.config import CheckpointConfig, FailureConfig, RunConfig

__all__ = ["CheckpointConfig", "FailureConfig", "RunConfig"]


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
