"""`Plot`: a picture that can be shown and saved."""

from __future__ import annotations

import html
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_tune.error import InvalidArgument

if TYPE_CHECKING:
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
