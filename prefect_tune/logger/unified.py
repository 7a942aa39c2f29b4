"""Ray Tune 2.0's import path of `UnifiedLogger`."""

from prefect_tune.logger.legacy import UnifiedLogger

__all__ = ["UnifiedLogger"]
