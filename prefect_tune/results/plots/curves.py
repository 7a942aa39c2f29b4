"""Read and draw learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.results.frames import trial_results
from prefect_tune.results.plots.picture import BEST, EARLY, FULL, INK, label, number_on_axis, style
from prefect_tune.results.ranking import best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_POINTS = 400
_LABEL_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Curve:
    """The values of the metric that a trial reported.

    Attributes:
        trial: The trial.
        steps: The training iterations of the values.
        values: The finite values, at least one.
        is_best: True for the best trial.
        is_early: True if the trial ended before the longest one.
    """

    trial: Trial
    steps: list[int]
    values: list[float]
    is_best: bool = False
    is_early: bool = False

    @property
    def color(self) -> str:
        """Colour of the trial's lines and points."""
        return BEST if self.is_best else EARLY if self.is_early else FULL

    @property
    def layer(self) -> int:
        """Drawing order (matplotlib's ``zorder``): the best trial on top, early ones below."""
        return 4 if self.is_best else 2 if self.is_early else 3


def read_curves(
    trials: Sequence[Trial], metric: str, mode: str, *, whole: bool = True
) -> list[Curve]:
    """Read the curves of all trials that reported a finite value of the metric.

    Args:
        trials: The trials; their results are read from their files.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``.
        whole: False takes the last value of each trial only, and reads no files.
    """
    best = best_of(trials, metric, mode)
    read = [(trial, *_read_curve(trial, metric, whole)) for trial in trials]
    longest = max((steps[-1] for _, steps, _ in read if steps), default=0)
    return [
        Curve(trial, steps, values, trial is best, steps[-1] < longest)
        for trial, steps, values in read
        if steps
    ]


def _read_curve(trial: Trial, metric: str, whole: bool) -> tuple[list[int], list[float]]:
    """Return steps and values of a trial's results, at most `_MAX_POINTS`, or of the last one only.

    Args:
        trial: The trial.
        metric: The metric.
        whole: False for the last result, for which no file is read.
    """
    steps: list[int] = []
    values: list[float] = []
    for result in (whole and trial_results(trial)) or [trial.last_result]:
        flat = flatten(result)
        value = number_on_axis(flat.get(metric))
        if value is not None:
            steps.append(int(number_on_axis(flat.get("training_iteration")) or len(steps) + 1))
            values.append(float(value))
    if len(steps) > _MAX_POINTS:
        stride = math.ceil(len(steps) / _MAX_POINTS)
        # Counted from the end, so that the last value stays.
        steps, values = steps[::-1][::stride][::-1], values[::-1][::stride][::-1]
    return steps, values


def group_by_layer(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Group the curves by their layer, the lowest first."""
    groups: dict[int, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.layer, []).append(curve)
    return [groups[layer] for layer in sorted(groups)]


def draw_curves(axes: Axes, curves: Sequence[Curve], metric: str) -> None:
    """Draw the metric over the iterations; the best trial is highlighted."""
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    crowded = len(curves) > 60
    # Many lines are drawn faintly, or they would cover the whole picture.
    faint = max(0.12, min(0.45, 90 / len(curves))) if crowded else 0.85
    for group in group_by_layer(curves):
        # One collection for all lines: thousands of line objects would take minutes to draw.
        first = group[0]
        lines = LineCollection(
            [list(zip(c.steps, c.values, strict=True)) for c in group],
            colors=first.color,
            linewidths=2.6 if first.is_best else 0.7 if crowded else 1.2,
            alpha=1.0 if first.is_best else faint,
            zorder=first.layer,
            capstyle="round",
        )
        axes.add_collection(lines)
        axes.scatter(
            [c.steps[-1] for c in group],
            [c.values[-1] for c in group],
            s=36 if first.is_best else 6 if crowded else 12,
            color=first.color,
            zorder=first.layer,
        )
    axes.autoscale_view()
    scale_values(axes, curves)
    only = {step for c in curves for step in c.steps}
    if len(only) == 1:
        axes.set_xticks(list(only))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.015)
    axes.set_xlabel("training iteration", color=INK)
    axes.set_ylabel(label(metric, _LABEL_LENGTH), color=INK)
    style(axes)
    axes.set_title(_title(curves, metric), loc="left", fontsize=12, color=INK, pad=24)
    _draw_legend(axes, curves)


def _title(curves: Sequence[Curve], metric: str) -> str:
    title = f"{label(metric, 60)} of {len(curves)} trial{'s' if len(curves) != 1 else ''}"
    best = next((curve for curve in curves if curve.is_best), None)
    return title if best is None else f"{title}; best {best.values[-1]:.4g}"


def _draw_legend(axes: Axes, curves: Sequence[Curve]) -> None:
    from matplotlib.lines import Line2D

    full = sum(not curve.is_early for curve in curves)
    entries = [(BEST, 2.6, f"best: {label(c.trial, 40)}") for c in curves if c.is_best]
    entries.append((FULL, 1.6, f"ran to the end ({full})"))
    if full < len(curves):
        entries.append((EARLY, 1.6, f"ended earlier ({len(curves) - full})"))
    axes.legend(
        handles=[Line2D([], [], color=c, linewidth=w, label=text) for c, w, text in entries],
        loc="lower left",
        bbox_to_anchor=(-0.005, 1.0),
        ncols=len(entries),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1.4,
    )


def scale_values(axes: Axes, curves: Sequence[Curve], *, last_only: bool = False) -> None:
    """Set the limits or the scale of the vertical axis so that outliers leave room for the rest."""
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
