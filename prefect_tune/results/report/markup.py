"""Pieces of HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.text import as_unicode, in_words


def text(value: Any) -> str:
    """A value as text that cannot be taken for markup."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape(as_unicode(in_words(value)))


def facts(values: Mapping[str, Any]) -> str:
    """Names and values in two columns; those without a value are left out."""
    rows = "".join(
        f"<dt>{text(name)}</dt><dd>{text(value)}</dd>"
        for name, value in values.items()
        if value is not None and value != ""
    )
    return f'<dl class="facts">{rows}</dl>'


def section(title: str, *content: str) -> str:
    """A part of the page with a heading; nothing if there is no content."""
    inner = "\n".join(piece for piece in content if piece)
    return f"<section><h2>{text(title)}</h2>\n{inner}\n</section>" if inner else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: Shown, and sorted by.
        kind: A class of the style sheet.
    """

    value: Any
    kind: str = ""

    def render(self) -> str:
        """The cell as markup."""
        value = self.value
        kinds = [self.kind] if self.kind else []
        exact = ""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            kinds.append("n")
            if isinstance(value, float) and math.isfinite(value):
                exact = f' data-v="{value!r}"'
        classes = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<td{classes}{exact}>{text(value)}</td>"


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    name: str = "",
    highlighted: int | None = None,
) -> str:
    """A table that can be sorted by its heads.

    Args:
        heads: One for each column.
        rows: The cells.
        name: Id of the table.
        highlighted: Index of the row to highlight.
    """
    head = "".join(f"<th>{text(title)}</th>" for title in heads)
    body = "\n".join(
        f"<tr{' class=best' if index == highlighted else ''}>"
        f"{''.join(cell.render() for cell in row)}</tr>"
        for index, row in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table class="sortable" id="{name}"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
