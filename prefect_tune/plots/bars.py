"""How much each parameter matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect_tune.plots.style import FULL, INK, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_importance(axes: Axes, shares: Mapping[str, float], metric: str) -> None:
    """Draw a bar for each parameter, the largest at the top.

    Args:
        axes: Where to.
        shares: Parameter -> share from 0 to 1.
        metric: Name of the metric.
    """
    names = list(shares)[::-1]
    values = [shares[name] for name in names]
    bars = axes.barh([_short(name) for name in names], values, color=FULL, height=0.65)
    axes.bar_label(bars, [f"{value:.0%}" for value in values], padding=4, color=INK, fontsize=9)
    axes.set_xlim(0, max(0.1, min(1.0, 1.15 * max(values))))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(f"share of the differences in {metric} that it explains alone", color=INK)
    style(axes)
    axes.grid(visible=False, axis="y")


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"…{name[-29:]}"
