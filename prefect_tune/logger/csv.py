"""`progress.csv`: one row per result, one column per metric."""

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
from prefect_tune.logger.base import BatchLoggerCallback
from prefect_tune.logger.encoding import as_json
from prefect_tune.logger.files import (
    AppendFiles,
    truncate_lines,
    whole_lines,
)
from prefect_tune.nested import flatten
from prefect_tune.result import EXPR_PROGRESS_FILE

PROGRESS_FILE = EXPR_PROGRESS_FILE
#: What is written as it is, without a further look.
_CELLS = frozenset({float, int, str, bool, type(None)})
_Getter = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class _Table:
    """The rows of one trial on their way into its file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.columns: list[str] = []
        self.written = 0  # columns of the header in the file
        whole_lines(path, quotes=True)
        if os.path.exists(path):
            with open(path, newline="", encoding="utf-8") as file:
                self.columns = next(csv_reader(file), [])
            self.written = len(self.columns)
        self._positions = {name: position for position, name in enumerate(self.columns)}
        # Results of a trial mostly have the same keys in the same order; then a row is one call.
        self._keys: tuple[str, ...] | None = None
        self._get: _Getter = tuple

    @property
    def grown(self) -> bool:
        """True if the file's header lacks columns."""
        return 0 < self.written < len(self.columns)

    def row(self, result: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values of one result in the order of the columns."""
        if tuple(result) != self._keys:
            return self._other_row(result)
        row = self._get(result)
        if _CELLS.issuperset(map(type, row)):
            return row
        nested = any(isinstance(value, dict) for value in row)
        return self._other_row(result) if nested else list(map(_cell, row))

    def _other_row(self, result: Mapping[str, Any]) -> Sequence[Any]:
        flat = flatten({key: value for key, value in result.items() if key != "config"})
        for name in sorted(flat, key=AUTO_FILLED.__contains__):  # the user's own metrics first
            if name not in self._positions:
                self._positions[name] = len(self.columns)
                self.columns.append(name)
                self._keys = None
        if len(self.columns) > 1 and result.keys() >= set(self.columns):
            self._keys, self._get = tuple(result), itemgetter(*self.columns)
        return [_cell(flat.get(name)) for name in self.columns]


class CSVLoggerCallback(BatchLoggerCallback):
    """Writes every result as a row; nested metrics get columns such as ``train/loss``.

    The first result makes the header. Metrics that come later are added to it: the file is then
    written anew with a wider header, at most once per flush.
    """

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._tables: dict[str, _Table] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Take up the file; an earlier attempt's rows are kept."""
        self._open_table(trial)

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Sequence[Mapping[str, Any]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """Write several results."""
        if not results:
            return
        table = self._tables.get(trial.trial_id) or self._open_table(trial)
        rows = [table.row(result) for result in results]
        width = len(table.columns)
        if len(rows[0]) < width:
            rows = [[*row, *[""] * (width - len(row))] for row in rows]
        if not table.written:
            rows.insert(0, table.columns)
            table.written = width
        self._files.append(table.path, _encode(rows))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write what is buffered and close the file."""
        table = self._tables.pop(trial.trial_id, None)
        if table is not None:
            self._files.close(table.path)
            if table.grown:
                _widen(table)

    def count_results(self, trial: Trial) -> int | None:
        """Whole rows of the trial's file."""
        return max(0, len(whole_lines(self._path(trial), quotes=True)) - 1)

    def keep_results(self, trial: Trial, count: int) -> None:
        """Cut off the rows behind them; the header stays."""
        truncate_lines(self._path(trial), count + 1, quotes=True)

    def flush(self) -> None:
        """Write what is buffered, with all columns in the header."""
        self._files.flush()
        for table in self._tables.values():
            if table.grown:
                self._files.close(table.path)
                _widen(table)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write everything and close all files."""
        self.flush()
        self._tables.clear()
        self._files.close_all()

    def _open_table(self, trial: Trial) -> _Table:
        table = self._tables.get(trial.trial_id)
        if table is None:
            table = self._tables[trial.trial_id] = _Table(self._path(trial))
        return table

    @staticmethod
    def _path(trial: Trial) -> str:
        return os.path.join(trial.logdir, PROGRESS_FILE)


def _widen(table: _Table) -> None:
    """Write the file anew with the full header; rows from before get empty cells."""
    width = len(table.columns)
    with open(table.path, newline="", encoding="utf-8") as file:
        reader = csv_reader(file)
        next(reader, None)
        rows = [table.columns, *([*row, *[""] * (width - len(row))] for row in reader)]
    write_atomic(table.path, _encode(rows))
    table.written = width


def _cell(value: Any) -> Any:
    return value if type(value) in _CELLS or same_in_json(value) else as_json(value)


def _encode(rows: Sequence[Sequence[Any]]) -> bytes:
    try:
        written = _written(rows, "\n")
    except ValueError:  # Python does not write integers of thousands of digits
        rows = [[number_of(v) if type(v) is int else v for v in row] for row in rows]
        written = _written(rows, "\n")
    if "\r" in written:  # which the writer quotes only if it is part of the line's end
        written = _written(rows, "\r\n")
    return written.encode(errors="backslashreplace")


def _written(rows: Sequence[Sequence[Any]], end: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue()


def csv_reader(file: IO[str]) -> Iterator[list[str]]:
    """Return the rows of a `progress.csv`, however long values are."""
    # A setting of the whole process, which a list of predictions exceeds.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(file)
