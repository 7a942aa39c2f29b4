"""Write text and tables to a console of any encoding."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from prefect_tune.text import without_controls

if TYPE_CHECKING:
    from rich.box import Box


def write_text(
    text: str, stream: TextIO | None = None, end: str = "\n", *, allow_escapes: bool = False
) -> None:
    """Print a text, with question marks for characters that the console's encoding lacks.

    A name that cannot be encoded must not end a sweep, and a name with escape sequences must not
    control the terminal.

    Args:
        text: The text to print.
        stream: The stream to print to; None is standard output, if there is one.
        end: The end of the text.
        allow_escapes: Whether escape sequences are kept.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:  # pythonw, some services
        return
    text = (text if allow_escapes else without_controls(text)) + end
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = _encoding_of(stream)
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def is_unicode_terminal(stream: TextIO | None) -> bool:
    """Return True for a terminal with a Unicode encoding, which a live table needs."""
    if stream is None or not stream.isatty():
        return False
    return codecs.lookup(_encoding_of(stream)).name.startswith("utf")


def _encoding_of(stream: TextIO) -> str:
    # The stream may be any object that a program has put in the place of standard output.
    return getattr(stream, "encoding", None) or "ascii"


_FRAME = 3  # characters around a cell
_FRAME_FIRST = 1


class Table(NamedTuple):
    """The texts of a table, which may be shown as text or HTML.

    Attributes:
        header: Headings.
        rows: Cells, as many in each row as there are headings.
        note: A line to show below the table; "" shows none.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def numeric_columns(self) -> list[bool]:
        """Return for each column whether all cells are numbers, which are aligned to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.header)
        return [all(_is_number(cell) for cell in column if cell) for column in columns]


def text_table(table: Table, line_width: int | None = None) -> list[str]:
    """Draw a table with a frame, and its note.

    Args:
        table: The table.
        line_width: Characters in a line. A wider table is drawn as several, one below the other,
            each with the first column and some of the others. None is no limit.
    """
    # Chinese characters and emoji take two columns of a terminal.
    from rich.box import Box
    from rich.cells import cell_len

    frame = Box("+-++\n| ||\n|-||\n| ||\n|-||\n|-||\n| ||\n+-++\n", ascii=True)
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    right = table.numeric_columns()
    lines: list[str] = []
    for part in _split_columns(widths, line_width):
        header, *rows = zip(*(columns[i] for i in part), strict=True)
        lines += draw_lines(header, rows, [right[i] for i in part], frame)
    return [*lines, table.note] if table.note else lines


def draw_lines(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[bool],
    frame: Box | None = None,
) -> list[str]:
    """Draw a table whose width is not limited.

    Args:
        header: Headings.
        rows: Cells, each on one line.
        right: For each column whether it is aligned to the right.
        frame: Characters to draw around the cells; None puts two spaces between columns.
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
    # As `Text`, so that rich does not take texts such as [INST] for markup.
    for heading, to_right in zip(header, right, strict=True):
        grid.add_column(Text(heading), justify="right" if to_right else "left", no_wrap=True)
    for cells in rows:
        grid.add_row(*map(Text, cells))
    console = Console(file=io.StringIO(), width=sys.maxsize, color_system=None)
    with console.capture() as drawn:
        console.print(grid)
    return [line.rstrip() for line in drawn.get().rstrip("\n").split("\n")]


def _split_columns(widths: Sequence[int], line_width: int | None) -> list[list[int]]:
    """Return the numbers of the columns of each part that fits a line, the first one in each."""
    total = _FRAME_FIRST + sum(width + _FRAME for width in widths)
    if line_width is None or total <= line_width or len(widths) < 2:
        return [list(range(len(widths)))]
    parts: list[list[int]] = []
    left = 0
    for number, width in enumerate(widths[1:], 1):
        if not parts or width + _FRAME > left:
            parts.append([0])
            left = line_width - _FRAME_FIRST - widths[0] - _FRAME
        parts[-1].append(number)
        left -= width + _FRAME
    return parts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
