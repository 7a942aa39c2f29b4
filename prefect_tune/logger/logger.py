"""Ray Tune's import path of the base classes of loggers."""

from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.encoding import SafeFallbackEncoder
from prefect_tune.logger.legacy import LegacyLoggerCallback, Logger
from prefect_tune.logger.pretty import pretty_print

__all__ = [
    "LegacyLoggerCallback",
    "Logger",
    "LoggerCallback",
    "SafeFallbackEncoder",
    "pretty_print",
]
