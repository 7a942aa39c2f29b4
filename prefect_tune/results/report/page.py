"""The HTML report: values into the template `page.html`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.report.sections import contents
from prefect_tune.text import as_unicode, in_words

_HERE = Path(__file__).parent


def write_report(
    analysis: ExperimentAnalysis,
    path: str | os.PathLike[str],
    objective: tuple[str, str] | None = None,
) -> str:
    """Write a report of an experiment: one HTML file without any reference to others.

    Args:
        analysis: The experiment.
        path: Where to write it; a file that is there is replaced.
        objective: Metric and mode that make a trial the best; None is the experiment's own, and
            without one there are no pictures.

    Returns:
        The path.

    Raises:
        OSError: If it cannot be written.
        InvalidArgument: If the mode is neither ``min`` nor ``max``.
    """
    metric, mode = analysis.default_metric, analysis.default_mode
    if objective is None and metric is not None and mode is not None:
        objective = (metric, mode)
    pages = jinja2.Environment(
        autoescape=True, finalize=_shown, loader=jinja2.FileSystemLoader(_HERE)
    )
    pages.filters["exact"] = _exact
    page = pages.get_template("page.html").render(
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        **contents(analysis, objective),
    )
    Path(path).write_text(page, encoding="utf-8")
    return os.fspath(path)


def _shown(value: Any) -> Any:
    """Return a value as the page shows it, before it is escaped."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, Markup) else as_unicode(in_words(value))


def _exact(value: float) -> str:
    """What a number is sorted by."""
    return float.__repr__(value) if math.isfinite(value) else ""
