"""Draw the metric over pairs of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prefect_tune.results.plots.curves import Curve
from prefect_tune.results.plots.picture import BEST, INK, label, style, tilt_labels
from prefect_tune.results.plots.scales import MISSING, Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 60
_REACH = 0.12  # width of the Gaussian around a trial, as a share of an axis
_LEVELS = 12
_LABEL_LENGTH = 28
_MOST_TICKS = 8


def draw_contour(
    axes: Axes, curves: Sequence[Curve], names: tuple[str, str], metric: str, mode: str
) -> None:
    """Draw the metric over two parameters, smoothed between the trials.

    The value between trials is their mean, weighted by a Gaussian of the distance (Nadaraya 1964;
    Watson 1964); places without a trial nearby stay white.

    Args:
        axes: The axes to draw on.
        curves: The trials.
        names: The parameters on the horizontal and the vertical axis.
        metric: Name of the metric.
        mode: ``min`` or ``max``; better values are darker.
    """
    across, up = (
        scale_of([c.trial.evaluated_params.get(name, MISSING) for c in curves]) for name in names
    )
    known = [
        (x, y, curve)
        for x, y, curve in zip(across.places, up.places, curves, strict=True)
        if x is not None and y is not None
    ]
    style(axes)
    _label(axes, across, up, names)
    if not known:
        return
    x, y = np.array([k[0] for k in known]), np.array([k[1] for k in known])
    values = np.array([curve.values[-1] for _, _, curve in known])
    # A few diverged trials must not take up the whole scale of colours.
    low, high = np.quantile(values, [0.02, 0.98])
    levels = np.linspace(low, high, _LEVELS)
    if np.all(np.diff(levels) > 0):  # rounded, those of almost equal values are not
        mean = _smooth(x, y, np.clip(values, low, high))
        grid = np.linspace(-0.05, 1.05, _CELLS)
        colors = "YlGnBu" if mode == "max" else "YlGnBu_r"
        filled = axes.contourf(grid, grid, mean, levels, cmap=colors, extend="both")
        bar = axes.figure.colorbar(filled, ax=axes, shrink=0.9, pad=0.02, format="%.3g")
        bar.ax.tick_params(labelsize=8, colors=INK)
        bar.set_label(label(metric, _LABEL_LENGTH), color=INK, fontsize=9)
    size = 22 if len(known) <= 200 else 8
    axes.scatter(x, y, s=size, color="white", edgecolors=INK, linewidths=0.6, zorder=3)
    for px, py, curve in known:
        if curve.is_best:
            axes.scatter([px], [py], s=70, color=BEST, edgecolors="white", zorder=4)


def _smooth(x: np.ndarray, y: np.ndarray, values: np.ndarray) -> np.ndarray:
    line = np.linspace(-0.05, 1.05, _CELLS)
    # A Gaussian of a sum of squares is a product, so matrix products sum over the trials.
    across = np.exp(-0.5 * ((line[:, None] - x[None, :]) / _REACH) ** 2)
    up = np.exp(-0.5 * ((line[:, None] - y[None, :]) / _REACH) ** 2)
    weights = up @ across.T
    mean: np.ndarray = np.ma.masked_where(
        weights < 0.1, ((up * values) @ across.T) / np.maximum(weights, 1e-12)
    )
    return mean


def _label(axes: Axes, across: Scale, up: Scale, names: tuple[str, str]) -> None:
    for axis, scale, most in ((axes.xaxis, across, 4), (axes.yaxis, up, _MOST_TICKS)):
        shown = scale.ticks[:: -(-len(scale.ticks) // most)]
        axis.set_ticks([place for place, _ in shown], [text for _, text in shown])
    tilt_labels(axes, most=24)
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel(label(names[0], _LABEL_LENGTH), color=INK)
    axes.set_ylabel(label(names[1], _LABEL_LENGTH), color=INK)
