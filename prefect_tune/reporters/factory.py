"""Which reporter an experiment gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.console import shows_everything
from prefect_tune.reporters.notebook import JupyterNotebookReporter, in_notebook
from prefect_tune.reporters.result_lines import TrialProgressCallback

DEFAULT_VERBOSE = 2
_BRIEF_RESULTS = 2
#: What is replaced in place may be so more often than what is added.
_NOTEBOOK_S = 1.0


def make_reporter(
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    metric: str | None = None,
    mode: str | None = None,
    **setup: Any,
) -> ProgressReporter | None:
    """Choose how progress is shown and set the reporter up.

    Args:
        verbose: 0 nothing, 1 the status, 2 and brief results, 3 and full results; None shows the
            status, and names trials that have ended.
        progress_reporter: The user's own; then `verbose` only matters if it is 0.
        metric: The metric that is optimised.
        mode: ``min`` or ``max``.
        setup: Further arguments of `ProgressReporter.setup`: `start_time`, `total_samples`.

    Returns:
        A live table on a terminal, lines of text elsewhere, None if nothing is to be shown.

    Raises:
        InvalidArgument: If an argument has another type or value.
    """
    level = DEFAULT_VERBOSE if verbose is None else verbose
    if not isinstance(level, int) or not 0 <= level <= 3:
        raise InvalidArgument("verbose", f"got {verbose!r}.", "It is 0, 1, 2 or 3.")
    if progress_reporter is not None and not isinstance(progress_reporter, ProgressReporter):
        raise InvalidArgument(
            "progress_reporter",
            f"got {type(progress_reporter).__name__}.",
            "Give a ProgressReporter, e.g. CLIReporter().",
        )
    if level == 0:
        return None
    reporter = progress_reporter or _automatic(level, explicit=verbose is not None)
    reporter.setup(metric=metric, mode=mode, **setup)
    return reporter


def result_lines(
    verbose: int | None = None, metric: str | Sequence[str] | None = None
) -> TrialProgressCallback | None:
    """What prints single results, if that was asked for; arguments as of `make_reporter`."""
    if verbose is None or verbose < _BRIEF_RESULTS:
        return None
    return TrialProgressCallback(metric, verbose=verbose)


def _automatic(verbose: int, explicit: bool) -> ProgressReporter:
    if in_notebook():
        return JupyterNotebookReporter(max_report_frequency=_NOTEBOOK_S)
    # A dumb terminal (an editor's, a CI job's) cannot redraw what it has shown.
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    if shows_everything(sys.stdout) and not dumb:
        from prefect_tune.reporters.live import LiveReporter

        return LiveReporter(verbose)
    from prefect_tune.reporters.plain import PlainReporter

    # Whoever asks for results gets a line for each, with the trial's end.
    return PlainReporter(min(verbose, 1) if explicit else verbose)
