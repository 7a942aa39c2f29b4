"""How much each parameter matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect_tune.results.plots.style import FULL, INK, label, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROOM = 32


def draw_importance(axes: Axes, shares: Mapping[str, float], metric: str) -> None:
    """Draw a bar for each parameter, the largest at the top.

    Args:
        axes: Where to.
        shares: Parameter -> share from 0 to 1.
        metric: Name of the metric.
    """
    names = list(shares)[::-1]
    values = [shares[name] for name in names]
    places = range(len(names))
    bars = axes.barh(places, values, color=FULL, height=0.65)
    axes.set_yticks(places, [label(name, _ROOM) for name in names])
    axes.bar_label(bars, [f"{value:.0%}" for value in values], padding=4, color=INK, fontsize=9)
    axes.set_xlim(0, max(0.1, min(1.0, 1.15 * max(values))))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    share = f"share of the differences in {label(metric, _ROOM)} that it explains alone"
    axes.set_xlabel(share, color=INK)
    style(axes)
    axes.grid(visible=False, axis="y")
