"""Ray Train's path of what tuning scripts import from it: ``from prefect_tune import train``."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.checkpoint.checkpoint import Checkpoint as Checkpoint
from prefect_tune.config import CheckpointConfig as CheckpointConfig
from prefect_tune.config import FailureConfig as FailureConfig
from prefect_tune.config import RunConfig as RunConfig
from prefect_tune.results import Result as Result
from prefect_tune.storage.sync.sync_config import SyncConfig as SyncConfig
from prefect_tune.trainable.session import get_checkpoint as get_checkpoint
from prefect_tune.trainable.session import get_context as get_context
from prefect_tune.trainable.session import report as report


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
