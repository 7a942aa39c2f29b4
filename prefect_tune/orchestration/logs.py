"""Logger for lines that users should see in the flow run's log and on the terminal."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger

_logger = logging.getLogger("prefect_tune")

RunLog = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> RunLog:
    """Return the logger of the surrounding flow run; outside one, the package's."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return _logger
    return flow_run_logger(context.flow_run, context.flow)
