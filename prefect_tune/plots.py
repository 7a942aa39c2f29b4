"""Pictures of an experiment as PNG: learning curves, and the metric against each parameter."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_tune.coordinator.flatten import flatten
from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.json import RESULT_FILE
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.frames import read_results
from prefect_tune.results.ranking import best_of, check_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST = "#d1495b"
_FULL = "#2b6777"
_EARLY = "#9fc3c9"
_INK = "#333333"
_MAX_POINTS = 400
_MAX_PANELS = 9
_MAX_CATEGORIES = 8
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class _Curve:
    """What a trial reported of the metric."""

    trial: Trial
    steps: list[int]
    values: list[float]
    is_best: bool = False
    is_early: bool = False

    @property
    def color(self) -> str:
        return _BEST if self.is_best else _EARLY if self.is_early else _FULL

    @property
    def layer(self) -> int:
        return 4 if self.is_best else 2 if self.is_early else 3


def plot_experiment(
    analysis: ExperimentAnalysis, metric: str, mode: str, path: str | os.PathLike[str]
) -> str:
    """Draw the learning curves of all trials and, below, their last values by parameter.

    The best trial is highlighted; trials that ended before the longest one are drawn lighter.
    Parameters that span decades get a logarithmic axis, those with few values one place each.

    Args:
        analysis: The experiment.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``: what makes a trial the best.
        path: Where to write the PNG.

    Returns:
        The path.

    Raises:
        TuneError: If no trial reported a finite value of the metric.
        InvalidArgument: If `mode` has another value.
        ImportError: If matplotlib is not installed; says what to install.
    """
    check_mode(mode)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'prefect-tune[plots]'") from error
    curves = _curves(analysis.trials, metric, mode)
    if not curves:
        raise TuneError(f"There is nothing to plot: no trial reported a finite {metric!r}.")
    parameters = list(dict.fromkeys(name for c in curves for name in c.trial.evaluated_params))
    parameters = parameters[:_MAX_PANELS]
    rows = math.ceil(len(parameters) / _COLUMNS)
    figure = Figure(figsize=(11, 4.4 + 2.9 * rows), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, 6, height_ratios=[1.45, *[1] * rows], hspace=0.08)
    _draw_curves(figure.add_subplot(grid[0, :]), curves, metric)
    _draw_parameters(figure, grid, curves, parameters, metric)
    figure.savefig(path, dpi=150)
    return os.fspath(path)


def _curves(trials: Sequence[Trial], metric: str, mode: str) -> list[_Curve]:
    best = best_of(trials, metric, mode)
    read = [(trial, *_read_curve(trial, metric)) for trial in trials]
    longest = max((steps[-1] for _, steps, _ in read if steps), default=0)
    return [
        _Curve(trial, steps, values, trial is best, steps[-1] < longest)
        for trial, steps, values in read
        if steps
    ]


def _read_curve(trial: Trial, metric: str) -> tuple[list[int], list[float]]:
    """Steps and values of one trial, thinned out to what a picture can show."""
    path = os.path.join(trial.logdir, RESULT_FILE)
    results = read_results(path) if os.path.exists(path) else iter((trial.last_result,))
    steps: list[int] = []
    values: list[float] = []
    for result in results:
        flat = flatten(result) if result is not None else {}
        value = flat.get(metric)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if math.isfinite(value):
            steps.append(int(flat.get("training_iteration") or len(steps) + 1))
            values.append(float(value))
    if len(steps) > _MAX_POINTS:
        stride = math.ceil(len(steps) / _MAX_POINTS)
        # Counted from the end, so that the last value stays.
        steps, values = steps[::-1][::stride][::-1], values[::-1][::stride][::-1]
    return steps, values


def _draw_curves(axes: Axes, curves: Sequence[_Curve], metric: str) -> None:
    from matplotlib.ticker import MaxNLocator

    crowded = len(curves) > 60
    for curve in curves:
        axes.plot(
            curve.steps,
            curve.values,
            color=curve.color,
            linewidth=2.6 if curve.is_best else 0.7 if crowded else 1.2,
            alpha=1.0 if curve.is_best else 0.45 if crowded else 0.85,
            zorder=curve.layer,
            solid_capstyle="round",
        )
        axes.plot(
            curve.steps[-1],
            curve.values[-1],
            marker="o",
            markersize=6 if curve.is_best else 2.5 if crowded else 3.5,
            color=curve.color,
            zorder=curve.layer,
        )
    _scale_values(axes, curves)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.015)
    axes.set_xlabel("training iteration", color=_INK)
    axes.set_ylabel(metric, color=_INK)
    _style(axes)
    axes.set_title(_title(curves, metric), loc="left", fontsize=12, color=_INK, pad=24)
    _legend(axes, curves)


def _title(curves: Sequence[_Curve], metric: str) -> str:
    title = f"{metric} of {len(curves)} trial{'s' if len(curves) != 1 else ''}"
    best = next((curve for curve in curves if curve.is_best), None)
    return title if best is None else f"{title}; best {best.values[-1]:.4g}"


def _legend(axes: Axes, curves: Sequence[_Curve]) -> None:
    from matplotlib.lines import Line2D

    full = sum(not curve.is_early for curve in curves)
    entries = [
        *((_BEST, 2.6, f"best: {curve.trial}") for curve in curves if curve.is_best),
        (_FULL, 1.6, f"ran to the end ({full})"),
        (_EARLY, 1.6, f"ended earlier ({len(curves) - full})"),
    ]
    axes.legend(
        handles=[Line2D([], [], color=c, linewidth=w, label=label) for c, w, label in entries],
        loc="lower left",
        bbox_to_anchor=(-0.005, 1.0),
        ncols=len(entries),
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        borderaxespad=0.2,
        handlelength=1.4,
    )


def _draw_parameters(
    figure: Figure, grid: Any, curves: Sequence[_Curve], parameters: Sequence[str], metric: str
) -> None:
    rows = math.ceil(len(parameters) / _COLUMNS)
    for row in range(rows):
        names = parameters[row::rows]
        width = 6 // len(names)
        for column, name in enumerate(names):
            axes = figure.add_subplot(grid[1 + row, column * width : (column + 1) * width])
            _draw_parameter(axes, curves, name)
            axes.set_xlabel(name, color=_INK)
            if column == 0:
                axes.set_ylabel(f"last {metric}", color=_INK)
            _style(axes)


def _draw_parameter(axes: Axes, curves: Sequence[_Curve], name: str) -> None:
    with_value = [curve for curve in curves if name in curve.trial.evaluated_params]
    values = [curve.trial.evaluated_params[name] for curve in with_value]
    places = _places(axes, values)
    for position, (curve, place) in enumerate(zip(with_value, places, strict=True)):
        axes.plot(
            _spread(place, position) if _is_categorical(values) else place,
            curve.values[-1],
            marker="o",
            linestyle="none",
            markersize=9 if curve.is_best else 5.5,
            color=curve.color,
            markeredgecolor="white",
            markeredgewidth=0.8,
            zorder=curve.layer,
        )
    _scale_values(axes, curves, last_only=True)


def _places(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Where each value lies on the horizontal axis, which is set up for it."""
    if not _is_categorical(values):
        if _spans_decades(values):
            axes.set_xscale("log")
        return [float(value) for value in values]
    try:
        categories = sorted(set(values))
    except TypeError:
        categories = list({repr(value): value for value in values}.values())
    labels = [str(category) for category in categories]
    axes.set_xticks(range(len(labels)), [label[:16] for label in labels])
    axes.set_xlim(-0.6, len(labels) - 0.4)
    if len(labels) * max(map(len, labels)) > 40:
        axes.tick_params(axis="x", labelrotation=20)
    known = [repr(category) for category in categories]
    return [float(known.index(repr(value))) for value in values]


def _is_categorical(values: Sequence[Any]) -> bool:
    numeric = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
    return not numeric or len(set(values)) <= min(_MAX_CATEGORIES, len(values) // 3)


def _spans_decades(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= 30


def _spread(place: float, position: int) -> float:
    """Move points of one category apart; the golden ratio keeps neighbours away from each other."""
    return place + ((position * 0.618) % 1 - 0.5) * 0.4


def _scale_values(axes: Axes, curves: Sequence[_Curve], *, last_only: bool = False) -> None:
    """Keep a few far-off values from squeezing all others together."""
    values = [v for c in curves for v in (c.values[-1:] if last_only else c.values)]
    if min(values) > 0 and max(values) / min(values) >= 1000:
        axes.set_yscale("log")
        return
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    middle = high - low
    best = [c.values[-1] for c in curves if c.is_best]
    bottom = max(ordered[0], min([low - 3 * middle, *best]))
    top = min(ordered[-1], max([high + 3 * middle, *best]))
    if top > bottom:
        margin = 0.06 * (top - bottom)
        axes.set_ylim(bottom - margin, top + margin)


def _style(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9, length=3)
