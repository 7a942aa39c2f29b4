"""Colours, figures and labels that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_tune.experiment.plain import finite_number
from prefect_tune.text import as_unicode, in_words, without_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = "#d1495b"
FULL = "#2b6777"
EARLY = "#9fc3c9"
INK = "#333333"
_LARGEST = 1e200


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that opens no window.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        ImportError: If matplotlib is not installed; the message says what to install.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'prefect-tune[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def number_on_axis(value: object) -> float | int | None:
    """Return a value as a number; None if it is none, not finite, or too large for matplotlib."""
    number = finite_number(value)
    return number if number is not None and abs(number) <= _LARGEST else None


def style(axes: Axes) -> None:
    """Set the colours, grid and spines of axes."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=3)


def label(text: object, max_length: int) -> str:
    """Return a name or value as the text of a label.

    A text that is too long loses its middle, since similar names differ at their beginning or end.

    Args:
        text: The name or value.
        max_length: The most characters of the label.
    """
    whole = as_unicode(without_controls(in_words(text)))
    if len(whole) > max_length:
        head = max_length // 2
        whole = f"{whole[:head]}…{whole[len(whole) - (max_length - head - 1) :]}"
    return whole.replace("$", r"\$")  # matplotlib typesets text between dollar signs as a formula


def tilt_labels(axes: Axes, most: int = 0) -> None:
    """Tilt the labels of the horizontal axis if they have more than `most` characters in all."""
    labels = axes.get_xticklabels()
    if sum(len(text.get_text()) for text in labels) > most:
        for text in labels:
            text.set(rotation=25, ha="right", rotation_mode="anchor")
