"""`Plot`, a picture that can be shown and saved, and the style that all pictures share."""

from __future__ import annotations

import html
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import finite_number
from prefect_tune.text import as_unicode, in_words, without_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg", "pdf", "html")


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of an experiment.

    Attributes:
        figure: The matplotlib figure, which may be changed.
        title: The title of the picture.
    """

    figure: Figure
    title: str

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the picture to a file.

        Args:
            path: The file; ``.png``, ``.svg``, ``.pdf`` or ``.html``. An HTML file refers to no
                other files.

        Returns:
            The path.

        Raises:
            InvalidArgument: If the file name has another ending.
        """
        form = Path(path).suffix.lower().lstrip(".")
        if form not in _FORMATS:
            raise InvalidArgument(
                "path", f"got {os.fspath(path)!r}.", f"It ends in .{', .'.join(_FORMATS)}."
            )
        if form == "html":
            Path(path).write_text(self.to_html(), encoding="utf-8")
        else:
            self.figure.savefig(path, dpi=150)
        return os.fspath(path)

    def to_svg(self) -> str:
        """Return the picture as an ``<svg>`` element."""
        from matplotlib import rc_context

        text = io.StringIO()
        # Ids must differ between the pictures of one page, and a browser's search must find text.
        with rc_context({"svg.hashsalt": self.title, "svg.fonttype": "none"}):
            self.figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()
        return svg[svg.index("<svg") :]

    def to_html(self) -> str:
        """Return an HTML page with the picture."""
        title = html.escape(self.title)
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            "<style>body{margin:1rem;font-family:sans-serif}svg{max-width:100%;height:auto}</style>"
            f"</head><body>\n{self.to_svg()}\n</body></html>\n"
        )

    def _repr_png_(self) -> bytes:
        return self.to_png()

    def _repr_html_(self) -> str:
        return self.to_svg()

    def to_png(self, dpi: int = 100) -> bytes:
        """Return the picture as a PNG file.

        Args:
            dpi: Pixels per inch.
        """
        data = io.BytesIO()
        self.figure.savefig(data, format="png", dpi=dpi)
        return data.getvalue()


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
