"""Read results from files, as dicts or pandas data frames; pandas is imported when needed."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.csv import PROGRESS_FILE, csv_reader
from prefect_tune.logger.json import RESULT_FILE
from prefect_tune.nested import flatten
from prefect_tune.results.ranking import prefixed_config
from prefect_tune.settings import load_settings
from prefect_tune.trainable.runtime.metrics import CONSTANTS
from prefect_tune.validation import check_mode

if TYPE_CHECKING:
    import pandas as pd

V = TypeVar("V")


class ByTrial(dict[str, V]):
    """A dictionary with trial directories as keys that also accepts trial ids.

    Ray Tune 1 and 2.0 use directories as keys, later versions ids.

    Args:
        entries: Each trial and its value.
    """

    def __init__(self, entries: Iterable[tuple[Trial, V]]) -> None:
        self._directories: dict[str, str] = {}
        super().__init__()
        for trial, value in entries:
            self[trial.logdir] = value
            self._directories[trial.trial_id] = trial.logdir

    def __missing__(self, key: str) -> V:
        if key not in self._directories:
            raise KeyError(key)
        return self[self._directories[key]]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._directories

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a trial; `default` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default


log = logging.getLogger(__name__)

FILE_TYPES = ("csv", "json")
_CONSTANTS = {"": None, "True": True, "False": False}
#: Columns whose cells are texts even if they look like numbers.
_TEXTS = CONSTANTS - {"pid", "config"} | {"date"}


def load_pandas() -> Any:
    """Import pandas and return the module.

    Raises:
        ImportError: If pandas is not installed; the message says what to install.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("Data frames need pandas: pip install 'prefect-tune[pandas]'") from error
    return pandas


def check_file_type(file_type: str | None) -> str:
    """Check the type of files to read results from, and return it; None is ``csv``.

    Raises:
        InvalidArgument: If `file_type` is neither ``csv`` nor ``json``.
    """
    if file_type is None:
        return FILE_TYPES[0]
    if file_type not in FILE_TYPES:
        raise InvalidArgument("file_type", f"got {file_type!r}.", 'It is "csv" or "json".')
    return file_type


def as_frame(rows: Sequence[Mapping[str, Any]], delimiter: str = "/") -> pd.DataFrame:
    """Make a data frame of dicts; nested values get columns such as ``config/lr``."""
    frame: pd.DataFrame = load_pandas().json_normalize(list(rows), sep=delimiter)
    return frame


def read_frames(trials: Sequence[Trial], file_type: str) -> dict[str, pd.DataFrame]:
    """Read all results of each trial, by its directory; trials without results are left out.

    Files that cannot be read are skipped, and their number is logged.

    Args:
        trials: The trials.
        file_type: ``csv`` or ``json``; if a trial has no such file, the other is read.
    """
    frames: list[tuple[Trial, pd.DataFrame]] = []
    unreadable = 0
    for trial in trials:
        try:
            frame = read_frame(trial.logdir, file_type)
        except (OSError, ValueError):
            unreadable += 1
            continue
        if frame is not None and len(frame):
            frames.append((trial, frame))
    if unreadable:
        log.warning("The result files of %d of %d trials are unreadable.", unreadable, len(trials))
    return ByTrial(frames)


def read_frame(directory: str, file_type: str) -> pd.DataFrame | None:
    """Read all results of the trial in a directory; None if there are none.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not have the format of its name.
    """
    pandas = load_pandas()
    progress = os.path.join(directory, PROGRESS_FILE)
    results = os.path.join(directory, RESULT_FILE)
    has_progress = os.path.exists(progress) and os.path.getsize(progress)
    if not os.path.exists(results):
        return pandas.DataFrame(read_table(progress)) if has_progress else None
    rows = [result for result in read_results(results) if result is not None]
    if file_type == "json" or not has_progress:
        return as_frame(rows)
    # The columns of the table with the values of `result.json`, which keeps their types: in a table
    # a text "001" looks like a number, and a text "NA" like a missing value.
    shown = [flatten({k: v for k, v in result.items() if k != "config"}) for result in rows]
    frame: pd.DataFrame = pandas.DataFrame(shown)
    heads = [name for name in _read_header(progress) if name in frame]
    if rows and not heads:
        raise ValueError(f"{progress} is not the table of these results")
    return frame[[*heads, *(name for name in frame if name not in heads)]]


def trial_results(trial: Trial) -> list[dict[str, Any]]:
    """Read all results of a trial from its `result.json`, without damaged lines.

    Raises:
        OSError: If the file cannot be read.
    """
    path = os.path.join(trial.logdir, RESULT_FILE)
    if not os.path.exists(path):
        return []
    return [result for result in read_results(path) if result is not None]


def _read_header(progress: str) -> list[str]:
    with open(progress, newline="", encoding="utf-8", errors="replace") as file:
        return next(csv_reader(file), [])


def read_table(progress: str) -> dict[str, list[Any]]:
    """Read the columns of a `progress.csv`; a column of numbers or truth values is converted.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not a CSV table.
    """
    with open(progress, newline="", encoding="utf-8") as file:
        try:
            names, *rows = csv_reader(file)
        except csv.Error as error:
            raise ValueError(f"{progress} is no table: {error}") from error
    width = len(names)
    cells = [[*row[:width], *[""] * (width - len(row))] for row in rows]
    columns = zip(*cells, strict=True) if cells else [()] * width
    return {
        name: list(column) if name in _TEXTS else _parse_column(column)
        for name, column in zip(names, columns, strict=True)
    }


def _parse_column(column: Sequence[str]) -> list[Any]:
    """Convert the texts of a column to numbers, truth values and None, if all of them are such."""
    values: list[Any] = []
    for cell in column:
        value: Any = _CONSTANTS.get(cell, cell)
        if value is cell:
            for kind in (int, float):
                try:
                    number = kind(cell)
                except ValueError:
                    continue
                if str(number) == cell:
                    value = number
                    break
            else:
                return list(column)
        values.append(value)
    return values


def read_results(path: str) -> Iterator[dict[str, Any] | None]:
    """Yield the results in a `result.json`, None for each damaged line."""
    with open(path, "rb") as file:
        yield from map(_parse_line, file)


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        result = orjson.loads(line)
    except ValueError:
        try:
            result = json.loads(line)  # knows NaN and Infinity
        except ValueError:
            return None
    return result if isinstance(result, dict) else None


def last_results(trials: Iterable[Trial]) -> pd.DataFrame:
    """Return the last result of each trial that reported, indexed by trial id."""
    results = [trial.last_result for trial in trials if has_reported(trial)]
    frame = as_frame(results, load_settings().result_delimiter)
    return frame.set_index("trial_id") if "trial_id" in frame else frame


def one_row_per_trial(
    trials: Iterable[Trial],
    metric: str | None,
    mode: str | None,
    read: Callable[[], Mapping[str, pd.DataFrame]],
) -> pd.DataFrame:
    """Return one row per trial with a result: its best by `metric` and `mode`, else its last.

    Args:
        trials: The trials.
        metric: Name of the metric.
        mode: ``min`` or ``max``.
        read: Returns all results of each trial, by its directory; called if they are needed.

    Raises:
        InvalidArgument: If there is a mode but no metric, or the mode has another value.
    """
    if mode is not None and metric is None:
        raise InvalidArgument("metric", "it is missing, though mode is given.")
    rows = []
    for trial in filter(has_reported, trials):
        row: dict[str, Any] | None = None
        if metric is not None and mode is not None:
            row = _best_row(read().get(trial.logdir), metric, check_mode(mode))
        if row is None:
            row = {k: v for k, v in trial.last_result.items() if k != "config"}
        rows.append({**flatten(row), **prefixed_config(trial.config), "logdir": trial.logdir})
    frame: pd.DataFrame = load_pandas().DataFrame(rows)
    return frame


def _best_row(frame: pd.DataFrame | None, metric: str, mode: str) -> dict[str, Any] | None:
    if frame is None or metric not in frame:
        return None
    # pandas raises at integers that no float can hold.
    given = frame[metric].map(lambda v: number_of(v) if isinstance(v, int) else v)
    values = load_pandas().to_numeric(given, errors="coerce").dropna()
    if not len(values):
        return None
    (row,) = frame.loc[[values.idxmax() if mode == "max" else values.idxmin()]].to_dict("records")
    return {str(name): value for name, value in row.items()}


def has_reported(trial: Trial) -> bool:
    """Return True if a trial reported a result: `last_result` then holds more than ``done``."""
    return any(name != "done" for name in trial.last_result)
