"""The default loggers of an experiment."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache

from prefect_tune.callback import Callback
from prefect_tune.logger.csv import CSVLoggerCallback
from prefect_tune.logger.json import JsonLoggerCallback
from prefect_tune.logger.legacy import replaced_loggers
from prefect_tune.logger.tensorboardx import TBXLoggerCallback, tensorboardx_missing

log = logging.getLogger(__name__)


def default_loggers(
    callbacks: Sequence[Callback] | None, environ: Mapping[str, str] | None = None
) -> list[Callback]:
    """Add the CSV, JSON and TensorBoard loggers that are missing, in this order, at the end.

    Args:
        callbacks: The user's callbacks.
        environ: Environment variables; with `TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1` nothing is
            added. None is the process's environment.

    Returns:
        A new list. Without tensorboardX the TensorBoard logger is left out; the first time in a
        process a warning says so.
    """
    complete = list(callbacks or ())
    values = os.environ if environ is None else environ
    if values.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "") == "1":
        return complete
    for kind in (CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback):
        if any(isinstance(found, kind) or kind in replaced_loggers(found) for found in complete):
            continue
        if kind is TBXLoggerCallback and tensorboardx_missing():
            _warn_once()
            continue
        complete.append(kind())
    return complete


@cache
def _warn_once() -> None:
    log.warning(
        "No TensorBoard logs: tensorboardX is not installed "
        "(pip install 'prefect-tune[tensorboard]')."
    )
