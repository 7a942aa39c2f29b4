"""Draw the metric against each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.results.plots.curves import Curve, group_by_layer, scale_values
from prefect_tune.results.plots.picture import INK, label, style, tilt_labels
from prefect_tune.results.plots.scales import distinct, is_categorical, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
PER_ROW = 6  # divisible by 1, 2 and 3
_MOST_TICKS = 12
_LABEL_LENGTH = 36
_Y_LABEL_LENGTH = 24
_TICK_LABEL_LENGTH = 16


def rows_for(parameters: Sequence[str]) -> int:
    """Return how many rows of panels the parameters need."""
    return math.ceil(len(parameters) / COLUMNS)


def draw_slices(
    figure: Figure,
    grid: Any,
    first_row: int,
    curves: Sequence[Curve],
    parameters: Sequence[str],
    metric: str,
) -> None:
    """Draw the last value of the metric by each parameter.

    Args:
        figure: The figure to draw on.
        grid: A grid of the figure with `PER_ROW` columns.
        first_row: The grid's row for the first panels.
        curves: The trials.
        parameters: One panel each.
        metric: Name of the metric.
    """
    rows = rows_for(parameters)
    for row in range(rows):
        names = parameters[row::rows]
        width = PER_ROW // len(names)
        for column, name in enumerate(names):
            axes = figure.add_subplot(grid[first_row + row, column * width : (column + 1) * width])
            _draw_parameter(axes, curves, name)
            axes.set_xlabel(label(name, _LABEL_LENGTH), color=INK)
            if column == 0:
                axes.set_ylabel(f"last {label(metric, _Y_LABEL_LENGTH)}", color=INK)
            style(axes)


def _draw_parameter(axes: Axes, curves: Sequence[Curve], name: str) -> None:
    with_value = [curve for curve in curves if name in curve.trial.evaluated_params]
    values = [curve.trial.evaluated_params[name] for curve in with_value]
    places = _places(axes, values)
    if is_categorical(values):
        places = [_spread(place, position) for position, place in enumerate(places)]
    place_of = {id(curve): place for curve, place in zip(with_value, places, strict=True)}
    for group in group_by_layer(with_value):
        axes.scatter(
            [place_of[id(curve)] for curve in group],
            [curve.values[-1] for curve in group],
            s=81 if group[0].is_best else 30,
            color=group[0].color,
            edgecolors="white",
            linewidths=0.8,
            zorder=group[0].layer,
        )
    scale_values(axes, curves, last_only=True)


def _places(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Set up the horizontal axis for some values, and return the place of each value."""
    if not is_categorical(values):
        if spans_decades(values):
            axes.set_xscale("log")
        elif all(isinstance(value, int) for value in values):
            from matplotlib.ticker import MaxNLocator

            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return [float(value) for value in values]
    categories, places = distinct(values)
    every = -(-len(categories) // _MOST_TICKS)
    shown = [label(category, _TICK_LABEL_LENGTH) for category in categories[::every]]
    axes.set_xticks(range(0, len(categories), every), shown)
    axes.set_xlim(-0.6, len(categories) - 0.4)
    tilt_labels(axes, most=40)
    return [float(place) for place in places]


def _spread(place: float, position: int) -> float:
    """Move the points of one category apart, neighbours by the golden ratio."""
    return place + ((position * 0.618) % 1 - 0.5) * 0.4
