"""Ray Tune's import path of the context of a trial."""

from prefect_tune.trainable.session import TuneContext, get_context

__all__ = ["TuneContext", "get_context"]
