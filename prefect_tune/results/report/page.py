"""Write the HTML report: collect what it shows, and render the template `page.html`."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten_config
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.facts import experiment_facts
from prefect_tune.results.plots.curves import read_curves
from prefect_tune.results.plots.draw import LINEAGE, MOST_SHOWN, PARETO, draw
from prefect_tune.text import as_unicode, in_words

_HERE = Path(__file__).parent
Objective = tuple[str, str]


def write_report(
    analysis: ExperimentAnalysis,
    path: str | os.PathLike[str],
    objective: Objective | None = None,
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


#: With more trials pictures are bitmaps, because browsers are slow with thousands of SVG lines.
_MOST_IN_SVG = 300
#: With more trials pictures show a sample: more lines overlap, and take long to draw.
_MOST_DRAWN = 1000
_BEST_DRAWN = 100
_MOST_ERRORS = 100
_MOST_CHECKPOINTS = 500
_KINDS = {
    "curves": "Learning curves",
    "importance": "Importance of parameters",
    "slices": "By parameter",
    "parallel": "Parallel coordinates",
    "contours": "By pairs of parameters",
}


def page_values(analysis: ExperimentAnalysis, objective: Objective | None) -> dict[str, Any]:
    """Return the values of all variables in `page.html`.

    Args:
        analysis: The experiment.
        objective: Metric and mode that make a trial the best; None shows no best trial.
    """
    metric, mode = objective or (None, None)
    best = None if objective is None else analysis.get_best_trial(*objective)
    pictures: list[dict[str, Any]] = []
    if objective is None:
        pictures = _optional_picture(analysis, PARETO, "Pareto set")
    elif best is not None:
        pictures = _pictures(analysis, objective)
    pictures += _optional_picture(analysis, LINEAGE, "Lineage")
    return {
        "name": os.path.basename(analysis.experiment_path.rstrip("/")),
        "metric": metric,
        "mode": mode,
        "stats": analysis.stats(),
        "about": experiment_facts(analysis),
        "best": None if best is None else _best(analysis, best, str(metric)),
        "pictures": pictures,
        "trials": _trials(analysis.trials, best, metric),
        "errors": _errors(analysis.trials),
        "most_errors": _MOST_ERRORS,
        "checkpoints": _checkpoints(analysis, metric),
    }


def _best(analysis: ExperimentAnalysis, best: Trial, metric: str) -> dict[str, Any]:
    last = _last_metrics(best)
    paths = [path for path, _ in analysis.get_trial_checkpoints_paths(best)]
    return {
        "trial": best,
        "value": best.metric_value(metric, "last", "max"),
        "config": flatten_config(best.config),
        "last": dict(sorted(last.items(), key=lambda entry: entry[0] != metric)),
        "checkpoint": paths[-1] if paths else None,
    }


def _last_metrics(trial: Trial) -> dict[str, float]:
    return {name: stats["last"] for name, stats in trial.metric_analysis.items()}


def _picture(title: str, *notes: str, svg: str | None = None, png: bytes = b"") -> dict[str, Any]:
    return {
        "title": title,
        "notes": notes,
        "svg": None if svg is None else Markup(svg),
        "png": base64.b64encode(png).decode() or None,
    }


def _pictures(analysis: ExperimentAnalysis, objective: Objective) -> list[dict[str, Any]]:
    """Draw a picture of each kind in `_KINDS`, or say why it cannot be drawn."""
    metric, mode = objective
    shown = sample(analysis.trials, metric, mode)
    curves = read_curves(shown, metric, mode)
    pictures = []
    for kind, title in _KINDS.items():
        drawn, of_drawn = shown, curves
        if kind == "importance" and len(shown) < len(analysis.trials):
            drawn = analysis.trials
            of_drawn = read_curves(drawn, metric, mode, whole=False)
        try:
            picture = draw(drawn, kind, {metric: mode}, curves=of_drawn)
        except ImportError as error:
            return [_picture("Pictures", str(error))]
        except TuneError as error:
            pictures.append(_picture(title, str(error)))
            continue
        notes = _notes(kind, len(shown), analysis.trials)
        if len(shown) <= _MOST_IN_SVG:
            pictures.append(_picture(title, *notes, svg=picture.to_svg()))
        else:
            pictures.append(_picture(title, *notes, png=picture.to_png()))
    return pictures


def _notes(kind: str, shown: int, trials: Sequence[Trial]) -> list[str]:
    """Return notes for a kind of picture: how to read it, and what it leaves out."""
    if kind == "importance":
        return [
            "Share of the differences between the trials' last values, by rank, that a parameter "
            "explains by itself (one-way analysis of variance, corrected for chance). Shares need "
            "not add up to 100 %."
        ]
    notes = []
    searched = len({name for trial in trials for name in trial.evaluated_params})
    most = MOST_SHOWN.get(kind, searched)
    if searched > most:
        notes.append(
            f"Shows the {most} of {searched} parameters that explain most of the differences."
        )
    if shown < len(trials):
        notes.append(
            f"Shows {shown:,} of {len(trials):,} trials: the best {_BEST_DRAWN} and others at even "
            "distances in order of creation."
        )
    return notes


def _optional_picture(analysis: ExperimentAnalysis, kind: str, title: str) -> list[dict[str, Any]]:
    """Draw a kind of picture; an empty list if the experiment has nothing to draw for it."""
    try:
        return [_picture(title, svg=analysis.plot(kind).to_svg())]
    except (TuneError, ImportError):
        return []


def sample(trials: Sequence[Trial], metric: str, mode: str) -> list[Trial]:
    """Return the trials that pictures show: all, or the best and some others of very many."""
    if len(trials) <= _MOST_DRAWN:
        return list(trials)
    sign = 1 if mode == "min" else -1
    values = [trial.metric_value(metric, "last", mode) for trial in trials]
    ranked = sorted(
        (sign * value, number)
        for number, value in enumerate(values)
        if value is not None and math.isfinite(value)
    )
    chosen = {number for _, number in ranked[:_BEST_DRAWN]}
    others = [number for number in range(len(trials)) if number not in chosen]
    room = _MOST_DRAWN - len(chosen)
    chosen |= {others[place * len(others) // room] for place in range(room)}
    return [trials[number] for number in sorted(chosen)]


def _trials(trials: Sequence[Trial], best: Trial | None, metric: str | None) -> dict[str, Any]:
    """Return a table of all trials with their searched parameters and last metrics."""
    lasts = [_last_metrics(trial) for trial in trials]
    metrics = list(dict.fromkeys(name for last in lasts for name in last))
    metrics.sort(key=lambda name: name != metric)
    searched = list(dict.fromkeys(name for trial in trials for name in trial.evaluated_params))
    has_failed = any(trial.num_failures for trial in trials)
    rows = []
    for trial, last in zip(trials, lasts, strict=True):
        row = [str(trial), trial.status, *map(last.get, metrics)]
        row += map(trial.evaluated_params.get, searched)
        rows.append([*row, trial.num_failures or None] if has_failed else row)
    return {
        "heads": ["trial", "status", *metrics, *searched, *(["failures"] if has_failed else [])],
        "rows": rows,
        "best": None if best is None else list(trials).index(best),
    }


def _errors(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the reasons why trials failed, with the trials of each."""
    reasons: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.status == ERROR:
            reasons.setdefault(str(trial.error or "not known"), []).append(trial)
    return [{"reason": reason, "trials": failed} for reason, failed in reasons.items()]


def _checkpoints(analysis: ExperimentAnalysis, metric: str | None) -> dict[str, Any]:
    """Return a table of the kept checkpoints."""
    rows = [
        (str(trial), value, path)
        for trial in analysis.trials
        for path, value in analysis.get_trial_checkpoints_paths(trial, metric)
    ]
    return {
        "heads": ["trial", metric or "training_iteration", "checkpoint"],
        "rows": rows[:_MOST_CHECKPOINTS],
        "more": max(0, len(rows) - _MOST_CHECKPOINTS),
    }
