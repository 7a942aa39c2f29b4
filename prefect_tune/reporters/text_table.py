"""A table as lines of text."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Draw a table with a frame; columns of numbers are aligned to the right.

    Args:
        header: Headings.
        rows: Cells, as many in each row as there are headings.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(_is_number(cell) for cell in column[1:] if cell) for column in columns]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    return [rule, line(header), rule.replace("+", "|"), *(line(row) for row in rows), rule]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
