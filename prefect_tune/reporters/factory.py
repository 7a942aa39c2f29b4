"""Make the reporter of an experiment."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.console import is_unicode_terminal
from prefect_tune.reporters.notebook import JupyterNotebookReporter, in_notebook
from prefect_tune.reporters.result_lines import TrialProgressCallback


class Verbosity(enum.IntEnum):
    """Values of `verbose` by Ray Tune's names; plain numbers do as well."""

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3


#: Seconds between reports in a notebook, which replaces the last report and so may do it often.
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
        verbose: 0 shows nothing, 1 the status, 2 also brief results, 3 also full results; None
            shows the status and names trials that have ended.
        progress_reporter: The user's own reporter; then only a `verbose` of 0 has an effect.
        metric: The metric that is optimised.
        mode: ``min`` or ``max``.
        setup: Further arguments of `ProgressReporter.setup`: `start_time`, `total_samples`.

    Returns:
        A live table on a terminal, lines of text elsewhere; None for a `verbose` of 0.

    Raises:
        InvalidArgument: If an argument has another type or value.
    """
    level = Verbosity.V2_TRIAL_NORM if verbose is None else verbose
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
    reporter = progress_reporter or _default_reporter(level, explicit=verbose is not None)
    reporter.setup(metric=metric, mode=mode, **setup)
    return reporter


def make_result_printer(
    verbose: int | None = None, metric: str | Sequence[str] | None = None
) -> TrialProgressCallback | None:
    """Return a callback that prints single results, for a `verbose` of 2 or 3, else None."""
    if verbose is None or verbose < Verbosity.V2_TRIAL_NORM:
        return None
    return TrialProgressCallback(metric, verbose=verbose)


def _default_reporter(verbose: int, explicit: bool) -> ProgressReporter:
    if in_notebook():
        return JupyterNotebookReporter(max_report_frequency=_NOTEBOOK_S)
    # A dumb terminal (in an editor or a CI job) cannot redraw lines.
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    if is_unicode_terminal(sys.stdout) and not dumb:
        from prefect_tune.reporters.live import LiveReporter

        return LiveReporter(verbose)
    from prefect_tune.reporters.plain import PlainReporter

    # With an explicit 2 or 3, the callback of `make_result_printer` also prints trials' ends.
    return PlainReporter(min(verbose, 1) if explicit else verbose)
