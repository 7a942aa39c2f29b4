"""Ray Tune 1's import path; see `prefect_tune.trainable`."""

from prefect_tune.trainable.wrappers import with_parameters

__all__ = ["with_parameters"]
