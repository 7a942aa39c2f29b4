"""Write `progress.csv`: one row per result, one column per metric."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import IO, Any

from prefect_tune.atomic_write import write_atomic
from prefect_tune.experiment.plain import number_of, same_in_json
from prefect_tune.experiment.trial import AUTO_FILLED, Trial
from prefect_tune.logger.encoding import as_json
from prefect_tune.logger.files import (
    FileLoggerCallback,
    Results,
    cut_incomplete_line,
    truncate_lines,
)
from prefect_tune.nested import flatten
from prefect_tune.result import EXPR_PROGRESS_FILE

PROGRESS_FILE = EXPR_PROGRESS_FILE
#: Types whose values are written without conversion.
_CELLS = frozenset({float, int, str, bool, type(None)})
_Getter = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class _Table:
    """The columns of one trial's `progress.csv`; makes rows of results."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.columns: list[str] = []
        self.columns_written = 0  # columns of the header in the file
        cut_incomplete_line(path, quotes=True)
        if os.path.exists(path):
            with open(path, newline="", encoding="utf-8") as file:
                self.columns = next(csv_reader(file), [])
            self.columns_written = len(self.columns)
        self._positions = {name: position for position, name in enumerate(self.columns)}
        # Results of a trial mostly have the same keys in the same order; `_get` then makes a row.
        self._keys: tuple[str, ...] | None = None
        self._get: _Getter = tuple

    @property
    def needs_wider_header(self) -> bool:
        """True if the header in the file lacks columns."""
        return 0 < self.columns_written < len(self.columns)

    def row(self, result: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values of a result in the order of the columns; new metrics add columns."""
        if tuple(result) != self._keys:
            return self._slow_row(result)
        row = self._get(result)
        if _CELLS.issuperset(map(type, row)):
            return row
        nested = any(isinstance(value, dict) for value in row)
        return self._slow_row(result) if nested else list(map(_cell, row))

    def _slow_row(self, result: Mapping[str, Any]) -> Sequence[Any]:
        flat = flatten({key: value for key, value in result.items() if key != "config"})
        for name in sorted(flat, key=AUTO_FILLED.__contains__):  # the user's own metrics first
            if name not in self._positions:
                self._positions[name] = len(self.columns)
                self.columns.append(name)
                self._keys = None
        if len(self.columns) > 1 and result.keys() >= set(self.columns):
            self._keys, self._get = tuple(result), itemgetter(*self.columns)
        return [_cell(flat.get(name)) for name in self.columns]


class CSVLoggerCallback(FileLoggerCallback[_Table]):
    """Writes each result as a row of `progress.csv`; nested metrics get names like ``train/loss``.

    The metrics of the first result are the header. For metrics of later results, the file is
    rewritten with a wider header, at most once per flush.
    """

    def _begin_file(self, trial: Trial) -> _Table:
        """Return the trial's table, with the columns of earlier attempts."""
        return _Table(self._path(trial))

    def _encode(self, file: _Table, results: Results, lines: Sequence[bytes]) -> bytes:
        """Return the rows of the results, after the header in a new file."""
        rows = [file.row(result) for result in results]
        width = len(file.columns)
        if len(rows[0]) < width:
            rows = [[*row, *[""] * (width - len(row))] for row in rows]
        if not file.columns_written:
            rows.insert(0, file.columns)
            file.columns_written = width
        return _as_csv(rows)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write the trial's buffered rows and close its file."""
        table = self._of_trial.get(trial.trial_id)
        super().log_trial_end(trial, failed)
        if table is not None and table.needs_wider_header:
            _widen(table)

    def count_results(self, trial: Trial) -> int | None:
        """Return the number of complete rows in the trial's file."""
        return max(0, len(cut_incomplete_line(self._path(trial), quotes=True)) - 1)

    def keep_results(self, trial: Trial, count: int) -> None:
        """Delete all rows of the trial's file except the header and the first `count`."""
        truncate_lines(self._path(trial), count + 1, quotes=True)

    def flush(self) -> None:
        """Write buffered rows to the files, with all columns in the headers."""
        super().flush()
        for table in self._of_trial.values():
            if table.needs_wider_header:
                self._files.close(table.path)
                _widen(table)

    @staticmethod
    def _path(trial: Trial) -> str:
        return os.path.join(trial.logdir, PROGRESS_FILE)


def _widen(table: _Table) -> None:
    """Rewrite the file with all columns in the header; old rows get empty cells."""
    width = len(table.columns)
    with open(table.path, newline="", encoding="utf-8") as file:
        reader = csv_reader(file)
        next(reader, None)
        rows = [table.columns, *([*row, *[""] * (width - len(row))] for row in reader)]
    write_atomic(table.path, _as_csv(rows))
    table.columns_written = width


def _cell(value: Any) -> Any:
    return value if type(value) in _CELLS or same_in_json(value) else as_json(value)


def _as_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    try:
        text = _csv_text(rows, "\n")
    except ValueError:  # Python does not write integers of thousands of digits
        rows = [[number_of(v) if type(v) is int else v for v in row] for row in rows]
        text = _csv_text(rows, "\n")
    if "\r" in text:  # the writer quotes it only if the line end contains it
        text = _csv_text(rows, "\r\n")
    return text.encode(errors="backslashreplace")


def _csv_text(rows: Sequence[Sequence[Any]], end: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue()


def csv_reader(file: IO[str]) -> Iterator[list[str]]:
    """Return an iterator over the rows of a `progress.csv`, without a limit on cells' sizes."""
    # The limit is a setting of the whole process; a list of predictions would exceed the default.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(file)
