"""Keeps the task engine's lines about our own tasks out of the log."""

from __future__ import annotations

import logging

#: Names of our tasks.
TRIAL = "trial"
COORDINATOR = "coordinator"


class _SkipOurTasks(logging.Filter):
    """Drops what task engines say about trials and coordinators.

    The sweep has its own reports, the states carry the errors, and thousands of lines "Finished in
    state Completed()" would bury both, besides the cost of sending each to the API.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "task_name", None) not in (TRIAL, COORDINATOR)


def silence_our_tasks() -> None:
    """Install the filter, once per process."""
    logger = logging.getLogger("prefect.task_runs")
    if not any(isinstance(known, _SkipOurTasks) for known in logger.filters):
        logger.addFilter(_SkipOurTasks())
