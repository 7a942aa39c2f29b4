"""Logs for users, in the flow run's log and on the terminal, and failures of the record."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext, SyncClientContext
from prefect.logging.loggers import flow_run_logger

_logger = logging.getLogger("prefect_tune")

RunLog = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> RunLog:
    """Return the logger of the surrounding flow run; outside one, the package's."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return _logger
    return flow_run_logger(context.flow_run, context.flow)


@contextlib.contextmanager
def log_failure(what: str) -> Iterator[None]:
    """Log an error inside and continue: an imperfect record is no reason to stop a sweep.

    Args:
        what: Sentence that says what could not be done.
    """
    try:
        yield
    except Exception:
        _logger.debug("%s", what, exc_info=True)


@contextlib.contextmanager
def api_client(what: str) -> Iterator[SyncPrefectClient]:
    """Enter with the API client of the context; log an error of the block, and go on behind it.

    Args:
        what: What could not be done, as a sentence.
    """
    with log_failure(what), SyncClientContext.get_or_create() as context:
        yield context.client
