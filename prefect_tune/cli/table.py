"""Filter and sort the rows of a table, and print them or write them to a file."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

from prefect_tune.cli.commands import UsageError
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of, strict_json_value
from prefect_tune.reporters.console import draw_lines
from prefect_tune.results.ranking import parse_conditions
from prefect_tune.text import in_words, without_controls


def page(lines: Sequence[str], notices: Sequence[str] = ()) -> None:
    """Print lines, with a pager if the terminal has too few lines.

    Args:
        lines: The lines.
        notices: Lines for standard error, which stay on the terminal after the pager has ended.
    """
    text = without_controls("\n".join(lines)) + "\n"
    if not (_is_too_long(len(lines) + len(notices)) and _page(text)):
        sys.stdout.write(text)
    for notice in notices:
        print(without_controls(notice), file=sys.stderr)
    sys.stdout.flush()


def _is_too_long(count: int) -> bool:
    terminals = sys.stdin.isatty() and sys.stdout.isatty()
    return terminals and count + 1 > shutil.get_terminal_size().lines


def _page(text: str) -> bool:
    """Show a text with $PAGER or less; False if neither is installed."""
    command = shlex.split(os.environ.get("PAGER") or "less -S")
    if not command or shutil.which(command[0]) is None:
        return False
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, errors="replace")
    try:
        pager.communicate(text)
    except KeyboardInterrupt:
        # The interrupt was for the pager, which goes on.
        pager.wait()
    return True


_FORMATS = ("csv", "json", "pkl")
_MOST_WIDTH = 40  # most characters of a column
_MOST_WIDTH_ON_TERMINAL = 24
_GAP = 2

Row = dict[str, Any]


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands with a table have."""
    parser.add_argument(
        "--sort", metavar="COLUMNS", help="sort by these columns, separated by commas"
    )
    parser.add_argument("--desc", action="store_true", help="sort in descending order")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="CONDITION",
        help='only rows that fulfil this, e.g. "loss < 0.1"; may be given several times',
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N rows")
    parser.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        help="write a .csv, .json or .pkl (pandas) file, or print as csv or json",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; give a whole number from 1 up")
    return int(text)


def names_in(text: str | None) -> list[str] | None:
    """Split a text of names separated by commas; None for None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def show_table(
    rows: Sequence[Row], columns: Sequence[str], asked: bool, options: argparse.Namespace
) -> None:
    """Filter and sort rows, and print them or write them to a file, as the options say.

    Args:
        rows: The rows; they may have more values than the columns, to filter and sort by.
        columns: The columns in order.
        asked: True if the user chose the columns, so that empty ones are shown, too.
        options: The options of `add_table_options`.

    Raises:
        UsageError: If an option names an unknown column or an unknown format.
    """
    output = options.output
    form = None if output is None else _format_of(output)
    rows = _filter_and_sort(rows, columns, options)
    if form is None:
        _print_table(rows, columns, asked)
    elif output in _FORMATS:
        text = io.StringIO()
        _write(text, form, rows, columns)
        is_terminal = sys.stdout.isatty()
        sys.stdout.write(without_controls(text.getvalue()) if is_terminal else text.getvalue())
    else:
        _save(output, form, rows, columns)
        print(f"Wrote {len(rows)} rows to {output}")


def _format_of(output: str) -> str:
    form = output if output in _FORMATS else Path(output).suffix.lstrip(".").lower()
    if form not in _FORMATS or output == "pkl":
        raise UsageError(
            "--output", f"got {output!r}; give a name that ends in .csv, .json or .pkl"
        )
    return form


def check_columns(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Check that columns exist.

    Raises:
        UsageError: If a column is not known.
    """
    known = list(dict.fromkeys(known))
    for name in names:
        if name not in known:
            raise UsageError(option, f"there is no column {name!r}; there are {', '.join(known)}")


def _filter_and_sort(
    rows: Sequence[Row], columns: Sequence[str], options: argparse.Namespace
) -> list[Row]:
    try:
        conditions = parse_conditions(options.filter, "--filter")
    except InvalidArgument as error:
        raise UsageError("--filter", f"{error.problem} {error.hint}") from error
    known = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    check_columns("--filter", (c.name for c in conditions), known)
    kept = [row for row in rows if all(condition.holds(row) for condition in conditions)]
    order = names_in(options.sort) or []
    check_columns("--sort", order, known)
    for name in reversed(order):
        kept.sort(key=_sort_key(name, options.desc), reverse=options.desc)
    if options.desc and not order:
        kept.reverse()
    return kept[: options.limit]


def _sort_key(name: str, desc: bool) -> Callable[[Row], tuple[int, float, str]]:
    """Return a sort key that puts numbers before texts and missing values last."""

    def key(row: Row) -> tuple[int, float, str]:
        value = row.get(name)
        number = number_of(value)
        if value is None or number != number:
            return (-1 if desc else 2, 0.0, "")
        if number is not None:
            return (0, float(number), "")
        return (1, 0.0, in_words(value))

    return key


def _write(file: Any, form: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    if form == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            given = (row.get(name) for name in columns)
            writer.writerow(["" if value is None else in_words(value) for value in given])
        return
    write_json([{name: row[name] for name in columns if name in row} for row in rows], file)


def _save(output: str, form: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    path = os.path.expanduser(output)
    try:
        if form == "pkl":
            from prefect_tune.results.frames import load_pandas

            load_pandas().DataFrame(list(rows), columns=list(columns)).to_pickle(path)
        else:
            with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                _write(file, form, rows, columns)
    except ImportError as error:
        raise UsageError("--output", f"{output!r}: {error}") from error
    except OSError as error:
        raise UsageError("--output", f"cannot write {output}: {error.strerror}") from error


def _is_shown(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value == "")


def _print_table(rows: Sequence[Row], columns: Sequence[str], asked: bool) -> None:
    if not rows:
        print("No rows.")
        return
    used = [n for n in columns if asked or any(_is_shown(row.get(n)) for row in rows)]
    empty = [name for name in columns if name not in used]
    numeric = [_is_numeric(rows, name) for name in used]
    # Columns that the user chose are shown in full.
    cells, widths = _columns(rows, used, sys.maxsize if asked else _MOST_WIDTH)
    fitting = _fitting(widths)
    if fitting < len(used):
        cells, widths = _columns(rows, used, _MOST_WIDTH_ON_TERMINAL)
        fitting = _fitting(widths)
    rule = ["─" * width for width in widths[:fitting]]
    body = [rule, *zip(*cells[:fitting], strict=True)]
    lines = draw_lines(used[:fitting], body, numeric[:fitting])
    notices = []
    if empty:
        notices.append(f"Empty columns are left out: {_listing(empty)}")
    if fitting < len(used):
        notices.append(
            f"Columns beyond the width of the terminal are left out: {_listing(used[fitting:])} "
            "(choose with --columns, or write all with --output)"
        )
    page(lines, notices)


def _columns(
    rows: Sequence[Row], names: Sequence[str], widest: int
) -> tuple[list[list[str]], list[int]]:
    """Return the cells of each column and its width; the first column may be wider."""
    limits = [max(_MOST_WIDTH, widest), *([widest] * len(names))]
    cells = [
        [_cell(row.get(name), limit) for row in rows]
        for name, limit in zip(names, limits, strict=False)
    ]
    widths = [max(map(cell_len, (name, *cut))) for name, cut in zip(names, cells, strict=True)]
    return cells, widths


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, …"


def _fitting(widths: Sequence[int]) -> int:
    """Return how many columns fit on the terminal."""
    line_width = _terminal_width()
    if line_width is None:
        return len(widths)
    total = -_GAP
    for count, width in enumerate(widths):
        total += _GAP + width
        if total > line_width and count:
            return count
    return len(widths)


def _terminal_width() -> int | None:
    """Return the characters in a line of the terminal; None if the output is not a terminal."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = (row.get(name) for row in rows)
    return all(v is None or (isinstance(v, (int, float)) and v is not True) for v in values)


def _cell(value: Any, widest: int) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = without_controls(in_words(value).replace("\n", " "))
    return text if len(text) <= widest else f"{text[: widest - 1]}…"


def write_json(value: Any, file: TextIO) -> None:
    """Write a value and a line end as JSON without ``NaN``; values of unknown types become text.

    Args:
        value: The value.
        file: The file to write to.
    """
    json.dump(strict_json_value(value), file, indent=1)
    file.write("\n")
