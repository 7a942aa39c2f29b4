"""Writes the results of an experiment and its trials as markdown and pictures, for the flow run."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Sequence
from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten
from prefect_tune.orchestration.record.texts import show_value
from prefect_tune.reporters.columns import user_metrics
from prefect_tune.reporters.progress import Best

_MOST_ERRORS = 20
_MOST_METRICS = 20
_LONGEST_ERROR = 300
#: Characters with a meaning in markdown or HTML.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&$])")
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


def summary(
    title: str,
    standing: str,
    best: Best | None,
    metric: str | None,
    trials: Sequence[Trial],
    place: str,
    pages: Sequence[tuple[Trial, str | None]] = (),
) -> str:
    """Write the results of an experiment.

    Args:
        title: Name of the experiment.
        standing: Number of trials, in words.
        best: The best trial and its value, None if there is none.
        metric: The metric by which trials are ranked.
        trials: All trials.
        place: Directory or URL of the results.
        pages: The best trials, best first, and the addresses of their task runs in the UI.
    """
    lines = [f"# {plain(title)}", "", f"{standing}.", ""]
    if best is not None:
        lines += [f"**Best {plain(metric)}: {best.value:.6g}** ({plain(best.trial)})", ""]
        lines += ["| parameter | value |", "|---|---|"]
        lines += [f"| {plain(k)} | {plain(v)} |" for k, v in best.trial.evaluated_params.items()]
        lines += [""]
    if pages:
        lines += ["## Best trials", "", f"| trial | {plain(metric)} | status |", "|---|---|---|"]
        for trial, url in pages:
            linked = f"[{plain(trial)}]({url})" if url else plain(trial)
            value = finite_number(flatten(trial.last_result).get(metric or ""))
            shown = "" if value is None else f"{value:.6g}"
            lines += [f"| {linked} | {shown} | {trial.status} |"]
        lines += [""]
    failed = [trial for trial in trials if trial.status == ERROR]
    if failed:
        lines += ["## Errors", ""]
        lines += [
            f"* {plain(trial)}: {plain(show_value(trial.error)[:_LONGEST_ERROR])}"
            for trial in failed[:_MOST_ERRORS]
        ]
        if len(failed) > _MOST_ERRORS:
            lines += [f"* and {len(failed) - _MOST_ERRORS} more"]
        lines += [""]
    return "\n".join([*lines, f"Results: {plain(place)}"])


def trial_page(trial: Trial, metric: str | None, place: str, end: str) -> str:
    """Write how a trial has ended, its metrics, configuration and directory.

    Args:
        trial: A trial with a result.
        metric: The metric by which trials are ranked.
        place: Directory or URL of the experiment.
        end: How and why the trial has ended; "" if that is not known.
    """
    values = trial.metric_analysis or {}
    lines = [f"**{plain(end)}**", ""] if end else []
    lines += ["| metric | last | least | most |", "|---|---|---|---|"]
    for name in [metric, *user_metrics([trial], limit=_MOST_METRICS)]:
        seen = values.get(name or "", {})
        row = "|".join(plain(seen.get(which)) for which in ("last", "min", "max"))
        if seen and (line := f"|{plain(name)}|{row}|") not in lines:
            lines += [line]
    lines += ["", "| parameter | value |", "|---|---|"]
    lines += [f"| {plain(k)} | {plain(v)} |" for k, v in flatten(trial.config).items()]
    return "\n".join([*lines, "", f"Directory: {plain(f'{place}/{trial.relative_logdir}')}"])


def plain(value: Any) -> str:
    """Return a value as one line that markdown shows unchanged."""
    return _MARKUP.sub(r"\\\1", " ".join(show_value(value).split()))


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
    from prefect_tune.results.plots.curves import read_curves
    from prefect_tune.results.plots.draw import draw
    from prefect_tune.results.report.page import sample

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
