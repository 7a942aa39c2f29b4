"""Draw parallel coordinates: each trial as a line through its parameters and its metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prefect_tune.results.plots.curves import Curve
from prefect_tune.results.plots.picture import BEST, INK, label, tilt_labels
from prefect_tune.results.plots.scales import MISSING, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 12
_LABEL_LENGTH = 24
_LEVEL_LABEL_LENGTH = 15  # longer labels are tilted


def draw_parallel(
    axes: Axes, curves: Sequence[Curve], parameters: Sequence[str], metric: str, mode: str
) -> None:
    """Draw one vertical axis per parameter and, at the right, the metric.

    The better a trial by rank, the darker its line; the best is red.

    Args:
        axes: The axes to draw on.
        curves: The trials.
        parameters: One axis each.
        metric: Name of the metric.
        mode: ``min`` or ``max``.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    columns = [[c.trial.evaluated_params.get(name, MISSING) for c in curves] for name in parameters]
    columns.append([c.values[-1] for c in curves])
    scales = [scale_of(column) for column in columns]
    sign = 1 if mode == "max" else -1
    order = np.argsort([sign * c.values[-1] for c in curves], kind="stable")
    colors = colormaps["YlGnBu"]
    alpha = max(0.15, min(0.9, 60 / len(curves)))
    lines, shades = [], []
    for rank, index in enumerate(order):
        curve = curves[index]
        line = [
            (float(position), place)
            for position, scale in enumerate(scales)
            if (place := scale.places[index]) is not None
        ]
        if curve.is_best:
            axes.plot(*zip(*line, strict=True), color=BEST, linewidth=2.6, zorder=4)
        else:
            lines.append(line)
            shades.append(colors(0.2 + 0.7 * rank / max(1, len(curves) - 1)))
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=1.1, alpha=alpha, zorder=2))
    for position, scale in enumerate(scales):
        axes.axvline(position, color="#999999", linewidth=1, zorder=3)
        every = -(-len(scale.ticks) // _MOST_TICKS)
        for place, text in scale.ticks[::every]:
            axes.annotate(
                text,
                (position, place),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                color=INK,
                va="center",
                zorder=5,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
            )
    names = [label(name, _LABEL_LENGTH) for name in (*parameters, metric)]
    axes.set_xticks(range(len(scales)), names)
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlim(-0.1, len(scales) - 1 + 0.35)
    axes.tick_params(axis="x", length=0, colors=INK, labelsize=10)
    if len(scales) > 8 or max(map(len, names)) > _LEVEL_LABEL_LENGTH:
        tilt_labels(axes)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
