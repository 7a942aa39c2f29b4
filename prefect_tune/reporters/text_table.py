"""A table as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table, however it is shown.

    Attributes:
        header: Headings.
        rows: Cells, as many in each row as there are headings.
        note: Shown below; "" shows nothing.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def numeric_columns(self) -> list[bool]:
        """Which columns hold numbers only; those are aligned to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.header)
        return [all(_is_number(cell) for cell in column if cell) for column in columns]


def text_table(table: Table) -> list[str]:
    """Draw a table with a frame, and its note."""
    # Chinese characters and emoji take two columns of a terminal.
    from rich.cells import cell_len

    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    right = table.numeric_columns()
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, width, to_right in zip(cells, widths, right, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if to_right else cell + space)
        return "| " + " | ".join(padded) + " |"

    body = [line(row) for row in table.rows]
    lines = [rule, line(table.header), rule.replace("+", "|"), *body, rule]
    return [*lines, table.note] if table.note else lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
