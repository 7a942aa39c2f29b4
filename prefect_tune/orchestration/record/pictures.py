"""Draws a sweep for the markdown of its summary."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence

from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import Trial

_logger = logging.getLogger("prefect_tune")

_KINDS = {
    "curves": "Learning curves",
    "parallel": "Parallel coordinates",
    "importance": "Importance of parameters",
}
#: A sweep with fewer trials is not drawn: it has little to show, and would take longer.
_FEWEST_TRIALS = 4
#: An artifact is loaded whole wherever it is listed.
_DPI = 75


def pictures(trials: Sequence[Trial], metric: str | None, mode: str | None) -> str:
    """Draw a sweep.

    Args:
        trials: All trials.
        metric: The metric by which trials are ranked.
        mode: ``min`` or ``max``.

    Returns:
        Markdown with the pictures; "" if there is nothing to draw, or no matplotlib.
    """
    if metric is None or mode is None or len(trials) < _FEWEST_TRIALS:
        return ""
    from prefect_tune.results.plots.draw import draw, read_curves
    from prefect_tune.results.report.sections import sample

    shown = sample(trials, metric, mode)
    curves = read_curves(shown, metric, mode)
    parts = []
    for kind, title in _KINDS.items():
        try:
            png = draw(shown, kind, {metric: mode}, curves=curves).to_png(_DPI)
        except (ImportError, TuneError) as error:
            _logger.debug("There is no picture of %s: %s", kind, error)
            continue
        parts.append(
            f"## {title}\n\n![{title}](data:image/png;base64,{base64.b64encode(png).decode()})\n"
        )
    return "\n".join(parts)
