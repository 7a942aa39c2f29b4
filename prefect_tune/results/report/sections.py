"""The parts of a report."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.facts import experiment_facts
from prefect_tune.results.plots.draw import MOST_SHOWN, draw, read_curves
from prefect_tune.results.read_trials import flatten_config
from prefect_tune.results.report.markup import Cell, facts, section, table, text
from prefect_tune.text import in_words

Objective = tuple[str, str]

#: Beyond so many trials a picture is a bitmap: a browser is slow with a line for each of them.
_MOST_IN_SVG = 300
#: Of more trials the pictures show a sample: lines for all of them are one surface, and take long.
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


def summary(analysis: ExperimentAnalysis, best: Trial | None, metric: str | None) -> str:
    """What ran, how, and what came out."""
    stats = analysis.stats()
    cards = [f'<div class="card"><b>{stats["trials"]}</b>trials</div>']
    cards += [
        f'<div class="card{" error" if status == ERROR else ""}"><b>{count}</b>{text(status)}</div>'
        for status, count in stats["status"].items()
    ]
    cards.append(f'<div class="card"><b>{stats["results"]}</b>results</div>')
    if best is not None and metric is not None:
        value = best.metric_value(metric, "last", "max")
        cards.append(f'<div class="card best"><b>{text(value)}</b>best {text(metric)}</div>')
    return f'<div class="cards">{"".join(cards)}</div>\n{facts(experiment_facts(analysis))}'


def best_trial(analysis: ExperimentAnalysis, best: Trial | None, objective: Objective) -> str:
    """The best trial in full."""
    title = f"Best trial by {objective[0]} ({objective[1]})"
    if best is None:
        return section(title, "<p>No trial has a finite value of it.</p>")
    last = {name: stats["last"] for name, stats in best.metric_analysis.items()}
    last = dict(sorted(last.items(), key=lambda entry: entry[0] != objective[0]))
    paths = [path for path, _ in analysis.get_trial_checkpoints_paths(best)]
    return section(
        title,
        f"<p><b>{text(best)}</b> <span class=soft>in {text(best.relative_logdir)}</span></p>",
        f'<div class="two"><div>{facts(flatten_config(best.config))}</div>'
        f"<div>{facts(last)}</div></div>",
        f"<p class=soft>newest checkpoint: {text(paths[-1])}</p>" if paths else "",
    )


def pictures(analysis: ExperimentAnalysis, objective: Objective) -> list[str]:
    """One section for each picture that there is something to draw for."""
    sections = []
    metric, mode = objective
    shown = sample(analysis.trials, metric, mode)
    curves = read_curves(shown, metric, mode)
    searched = {name for trial in analysis.trials for name in trial.evaluated_params}
    for kind, title in _KINDS.items():
        try:
            if kind == "importance" and len(shown) < len(analysis.trials):
                everyone = read_curves(analysis.trials, metric, mode, whole=False)
                picture = draw(analysis.trials, kind, {metric: mode}, curves=everyone)
            else:
                picture = draw(shown, kind, {metric: mode}, curves=curves)
        except ImportError as error:
            return [section("Pictures", f"<p>{text(error)}</p>")]
        except TuneError as error:
            sections.append(section(title, f"<p class=soft>{text(error)}</p>"))
            continue
        if len(shown) <= _MOST_IN_SVG:
            image = picture.to_svg()
        else:
            data = base64.b64encode(picture.to_png()).decode()
            image = f'<img alt="{text(title)}" src="data:image/png;base64,{data}">'
        note = ""
        if len(searched) > (most := MOST_SHOWN.get(kind, len(searched))):
            note = (
                f"<p class=soft>Shows the {most} of {len(searched)} parameters that explain "
                "most of the differences.</p>"
            )
        if kind == "importance":
            note = (
                "<p class=soft>Share of the differences between the trials' last values, by rank, "
                "that a parameter explains by itself (one-way analysis of variance, corrected for "
                "chance). Shares need not add up to 100 %.</p>"
            )
        elif len(shown) < len(analysis.trials):
            note += (
                f"<p class=soft>Shows {len(shown):,} of {len(analysis.trials):,} trials: the best "
                f"{_BEST_DRAWN} and others at even distances in order of creation.</p>"
            )
        sections.append(section(title, f"<figure>{image}</figure>", note))
    return sections


def pareto_set(analysis: ExperimentAnalysis) -> str:
    """The picture of the trials that no other one beats; nothing unless there are two metrics."""
    try:
        picture = analysis.plot("pareto")
    except (TuneError, ImportError):
        return ""
    return section("Pareto set", f"<figure>{picture.to_svg()}</figure>")


def sample(trials: Sequence[Trial], metric: str, mode: str) -> list[Trial]:
    """The trials that pictures show: all, or of very many the best and some of the others."""
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


def trials_table(trials: Sequence[Trial], best: Trial | None, objective: Objective | None) -> str:
    """All trials, with what was searched and what was reported last."""
    lasts = [
        {name: stats["last"] for name, stats in trial.metric_analysis.items()} for trial in trials
    ]
    metrics = list(dict.fromkeys(name for last in lasts for name in last))
    if objective is not None and objective[0] in metrics:
        metrics.remove(objective[0])
        metrics.insert(0, objective[0])
    searched = list(dict.fromkeys(name for trial in trials for name in trial.evaluated_params))
    has_failed = any(trial.num_failures for trial in trials)
    rows = []
    for trial, last in zip(trials, lasts, strict=True):
        rows.append(
            [
                Cell(str(trial)),
                Cell(trial.status, trial.status),
                *(Cell(last.get(name)) for name in metrics),
                *(Cell(_plain(trial.evaluated_params.get(name))) for name in searched),
            ]
        )
        if has_failed:
            rows[-1].append(Cell(trial.num_failures or None))
    index = None if best is None else list(trials).index(best)
    return section(
        "Trials",
        '<input id="search" type="search" placeholder="Show only trials with …" '
        'aria-label="Show only trials with this text">',
        table(
            ["trial", "status", *metrics, *searched, *(["failures"] if has_failed else [])],
            rows,
            name="trials",
            highlighted=index,
        ),
    )


def errors(trials: Sequence[Trial]) -> str:
    """Why trials failed; equal reasons together."""
    reasons: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.status == ERROR:
            reasons.setdefault(str(trial.error or "not known"), []).append(trial)
    pieces = []
    for reason, failed in list(reasons.items())[:_MOST_ERRORS]:
        first = failed[0]
        who = text(first) if len(failed) == 1 else f"{len(failed)} trials, the first: {text(first)}"
        pieces.append(
            f"<details><summary><b>{text(reason)}</b> <span class=soft>({who})</span></summary>"
            f"<pre>{text(first.error_msg)}</pre></details>"
        )
    if len(reasons) > _MOST_ERRORS:
        pieces.append(f"<p>and {len(reasons) - _MOST_ERRORS} other errors</p>")
    return section("Errors", *pieces)


def checkpoints(analysis: ExperimentAnalysis, objective: Objective | None) -> str:
    """The checkpoints that are kept."""
    metric = None if objective is None else objective[0]
    rows: list[list[Cell]] = []
    more = 0
    for trial in analysis.trials:
        for path, value in analysis.get_trial_checkpoints_paths(trial, metric):
            if len(rows) < _MOST_CHECKPOINTS:
                rows.append([Cell(str(trial)), Cell(value), Cell(path)])
            else:
                more += 1
    if not rows:
        return ""
    heads = ["trial", metric or "training_iteration", "checkpoint"]
    return section(
        "Checkpoints",
        table(heads, rows, name="checkpoints"),
        f"<p class=soft>and {more} more</p>" if more else "",
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str)) else in_words(value)
