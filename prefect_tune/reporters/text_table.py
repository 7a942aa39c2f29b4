"""A table as lines of text."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.box import Box

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
        """Return which columns hold numbers only; those are aligned to the right."""
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
    from rich.box import Box
    from rich.cells import cell_len

    frame = Box("+-++\n| ||\n|-||\n| ||\n|-||\n|-||\n| ||\n+-++\n", ascii=True)
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    right = table.numeric_columns()
    lines: list[str] = []
    for part in _parts(widths, room):
        header, *rows = zip(*(columns[i] for i in part), strict=True)
        lines += draw_lines(header, rows, [right[i] for i in part], frame)
    return [*lines, table.note] if table.note else lines


def draw_lines(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[bool],
    frame: Box | None = None,
) -> list[str]:
    """Draw a table, of any width.

    Args:
        header: Headings.
        rows: Cells, each on one line.
        right: Which columns are aligned to the right.
        frame: What is drawn around the cells; None has two spaces between columns.
    """
    from rich import table as rich_table
    from rich.console import Console
    from rich.text import Text

    grid = rich_table.Table(
        box=frame,
        padding=(0, 1) if frame else (0, 2, 0, 0),
        pad_edge=frame is not None,
        header_style="",
    )
    # As texts: what looks like rich's markup, such as [INST], is none.
    for heading, to_right in zip(header, right, strict=True):
        grid.add_column(Text(heading), justify="right" if to_right else "left", no_wrap=True)
    for cells in rows:
        grid.add_row(*map(Text, cells))
    console = Console(file=io.StringIO(), width=sys.maxsize, color_system=None)
    with console.capture() as drawn:
        console.print(grid)
    return [line.rstrip() for line in drawn.get().rstrip("\n").split("\n")]


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
