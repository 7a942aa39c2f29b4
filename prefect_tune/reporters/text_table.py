"""A table as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_FRAME = 3  # characters around a cell
_FRAME_FIRST = 1


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


def text_table(table: Table, room: int | None = None) -> list[str]:
    """Draw a table with a frame, and its note.

    Args:
        table: The table.
        room: Width of a line. A table that is wider is drawn as several, one below the other, each
            with the first column and some of the others. None is any width.
    """
    # Chinese characters and emoji take two columns of a terminal.
    from rich.cells import cell_len

    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    right = table.numeric_columns()
    lines: list[str] = []
    for part in _parts(widths, room):
        lines += _frame(
            [[row[i] for i in part] for row in (table.header, *table.rows)],
            [widths[i] for i in part],
            [right[i] for i in part],
        )
    return [*lines, table.note] if table.note else lines


def _parts(widths: Sequence[int], room: int | None) -> list[list[int]]:
    """Numbers of the columns that are drawn beside each other."""
    total = _FRAME_FIRST + sum(width + _FRAME for width in widths)
    if room is None or total <= room or len(widths) < 2:
        return [list(range(len(widths)))]
    parts: list[list[int]] = []
    left = 0
    for number, width in enumerate(widths[1:], 1):
        if not parts or width + _FRAME > left:
            parts.append([0])
            left = room - _FRAME_FIRST - widths[0] - _FRAME
        parts[-1].append(number)
        left -= width + _FRAME
    return parts


def _frame(rows: Sequence[Sequence[str]], widths: list[int], right: list[bool]) -> list[str]:
    from rich.cells import cell_len

    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, width, to_right in zip(cells, widths, right, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if to_right else cell + space)
        return "| " + " | ".join(padded) + " |"

    header, *body = map(line, rows)
    return [rule, header, rule.replace("+", "|"), *body, rule]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
