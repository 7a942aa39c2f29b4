"""Putting the report together."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.report import sections
from prefect_tune.results.report.markup import text


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
    best = None if objective is None else analysis.get_best_trial(*objective)
    name = os.path.basename(analysis.experiment_path.rstrip("/"))
    parts = [
        f"<h1>{text(name)}</h1>",
        sections.summary(analysis, best, None if objective is None else objective[0]),
    ]
    if objective is None:
        parts.append(sections.pareto_set(analysis))
    else:
        parts.append(sections.best_trial(analysis, best, objective))
        if best is not None:
            parts += sections.pictures(analysis, objective)
    parts += [
        sections.trials_table(analysis.trials, best, objective),
        sections.errors(analysis.trials),
        sections.checkpoints(analysis, objective),
    ]
    Path(path).write_text(_page(name, "\n".join(filter(None, parts))), encoding="utf-8")
    return os.fspath(path)


def _page(title: str, body: str) -> str:
    here = files("prefect_tune.results.report")
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{body}\n<script>\n{script}</script>\n</body>\n</html>\n"
    )
