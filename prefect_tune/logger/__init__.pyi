"""Loggers: callbacks that write the results of trials to files."""

from .base import LoggerCallback as LoggerCallback
from .csv import CSVLoggerCallback as CSVLoggerCallback
from .defaults import default_loggers as default_loggers
from .encoding import pretty_print as pretty_print
from .json import JsonLoggerCallback as JsonLoggerCallback
from .legacy import (
    CSVLogger as CSVLogger,
    DEFAULT_LOGGERS as DEFAULT_LOGGERS,
    JsonLogger as JsonLogger,
    LegacyLoggerCallback as LegacyLoggerCallback,
    Logger as Logger,
    NoopLogger as NoopLogger,
    TBXLogger as TBXLogger,
    UnifiedLogger as UnifiedLogger,
    with_loggers as with_loggers,
)
from .tensorboardx import TBXLoggerCallback as TBXLoggerCallback
