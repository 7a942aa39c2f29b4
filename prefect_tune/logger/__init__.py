"""Loggers: callbacks that write the results of trials to files."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.csv import CSVLoggerCallback
from prefect_tune.logger.defaults import default_loggers
from prefect_tune.logger.encoding import pretty_print
from prefect_tune.logger.json import JsonLoggerCallback
from prefect_tune.logger.legacy import (
    DEFAULT_LOGGERS,
    CSVLogger,
    JsonLogger,
    LegacyLoggerCallback,
    Logger,
    NoopLogger,
    TBXLogger,
    UnifiedLogger,
    with_loggers,
)
from prefect_tune.logger.tensorboardx import TBXLoggerCallback

__all__ = [
    "DEFAULT_LOGGERS",
    "CSVLogger",
    "CSVLoggerCallback",
    "JsonLogger",
    "JsonLoggerCallback",
    "LegacyLoggerCallback",
    "Logger",
    "LoggerCallback",
    "NoopLogger",
    "TBXLogger",
    "TBXLoggerCallback",
    "UnifiedLogger",
    "default_loggers",
    "pretty_print",
    "with_loggers",
]


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
