"""Ray Tune's import path of what wraps trainables."""

from prefect_tune.trainable.wrappers import with_parameters, with_resources

__all__ = ["with_parameters", "with_resources"]
