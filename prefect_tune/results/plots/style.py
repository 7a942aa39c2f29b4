"""The looks that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_tune.text import as_unicode, in_words, without_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = "#d1495b"
FULL = "#2b6777"
EARLY = "#9fc3c9"
INK = "#333333"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that no window system knows of.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        ImportError: If matplotlib is not installed; says what to install.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'prefect-tune[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes) -> None:
    """Give axes the looks of all pictures."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=3)


def label(text: object, room: int) -> str:
    """Return a name or value as it is written at an axis.

    Names that are alike differ at their beginning or at their end: what is too long loses its
    middle.

    Args:
        text: The name or value.
        room: Characters there is room for.
    """
    whole = as_unicode(without_controls(in_words(text)))
    if len(whole) > room:
        head = room // 2
        whole = f"{whole[:head]}…{whole[len(whole) - (room - head - 1) :]}"
    return whole.replace("$", r"\$")  # else matplotlib takes it for a formula


def tilt_labels(axes: Axes, most: int = 0) -> None:
    """Tilt the labels of the horizontal axis if they have more than `most` characters together."""
    labels = axes.get_xticklabels()
    if sum(len(text.get_text()) for text in labels) > most:
        for text in labels:
            text.set(rotation=25, ha="right", rotation_mode="anchor")
