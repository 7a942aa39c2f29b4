"""Ray AIR's paths."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.air import config as config
from prefect_tune.air import session as session
from prefect_tune.checkpoint.checkpoint import Checkpoint as Checkpoint
from prefect_tune.config import CheckpointConfig as CheckpointConfig
from prefect_tune.config import FailureConfig as FailureConfig
from prefect_tune.config import RunConfig as RunConfig
from prefect_tune.results import Result as Result


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
