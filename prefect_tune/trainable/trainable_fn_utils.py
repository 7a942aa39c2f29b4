"""Ray Tune's import path; see `prefect_tune.trainable.session`."""

from prefect_tune.trainable.session import get_checkpoint, report

__all__ = ["get_checkpoint", "report"]
