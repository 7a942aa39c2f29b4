"""Ray Tune 2.0's import path of `NoopLogger`."""

from prefect_tune.logger.legacy import NoopLogger

__all__ = ["NoopLogger"]
