"""Ray AIR's path of the checkpoint: ``from prefect_tune.air.checkpoint import Checkpoint``."""

from prefect_tune.checkpoint.checkpoint import Checkpoint

__all__ = ["Checkpoint"]
