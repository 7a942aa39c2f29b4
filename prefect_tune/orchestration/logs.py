"""What a person should read in the log of the flow run, on the terminal and in the UI."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger

_logger = logging.getLogger("prefect_tune")

RunLog = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> RunLog:
    """The logger of the surrounding flow run; outside of one, the package's."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return _logger
    return flow_run_logger(context.flow_run, context.flow)
