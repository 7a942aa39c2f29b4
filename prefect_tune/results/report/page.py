"""Write the HTML report by rendering the template `page.html`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.report.sections import page_values
from prefect_tune.text import as_unicode, in_words

_HERE = Path(__file__).parent


def write_report(
    analysis: ExperimentAnalysis,
    path: str | os.PathLike[str],
    objective: tuple[str, str] | None = None,
) -> str:
    """Write a report of an experiment into one HTML file, which refers to no other files.

    Args:
        analysis: The experiment.
        path: The file to write; an existing file is replaced.
        objective: Metric and mode that make a trial the best; None is the experiment's own, and
            without one there are no pictures.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written.
        InvalidArgument: If the mode is neither ``min`` nor ``max``.
    """
    metric, mode = analysis.default_metric, analysis.default_mode
    if objective is None and metric is not None and mode is not None:
        objective = (metric, mode)
    pages = jinja2.Environment(
        autoescape=True, finalize=_show_value, loader=jinja2.FileSystemLoader(_HERE)
    )
    pages.filters["sort_key"] = _sort_key
    page = pages.get_template("page.html").render(
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        **page_values(analysis, objective),
    )
    Path(path).write_text(page, encoding="utf-8")
    return os.fspath(path)


def _show_value(value: Any) -> Any:
    """Return a value as the page shows it; jinja2 escapes the text afterwards."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, Markup) else as_unicode(in_words(value))


def _sort_key(value: float) -> str:
    """Return the number that a cell is sorted by, with all digits; "" if it is not finite."""
    return float.__repr__(value) if math.isfinite(value) else ""
