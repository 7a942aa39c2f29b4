"""Results as pandas data frames; pandas is imported when the first one is asked for."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.csv import PROGRESS_FILE, csv_reader
from prefect_tune.logger.json import RESULT_FILE
from prefect_tune.nested import flatten
from prefect_tune.trainable.runtime.auto_metrics import CONSTANTS

if TYPE_CHECKING:
    import pandas as pd


V = TypeVar("V")


class ByTrial(dict[str, V]):
    """A dictionary by trial directory in which a trial's id finds its entry, too.

    Ray Tune 1 and 2.0 name trials by their directories here, later versions by their ids.

    Args:
        entries: Trials and what belongs to them.
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
        """Return the entry of a trial; `default` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default


log = logging.getLogger(__name__)

FILE_TYPES = ("csv", "json")
_CONSTANTS = {"": None, "True": True, "False": False}
#: Columns of texts, also of those that look like numbers.
_TEXTS = CONSTANTS - {"pid", "config"} | {"date"}


def load_pandas() -> Any:
    """Return the pandas module.

    Raises:
        ImportError: If it is not installed; says what to install.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("Data frames need pandas: pip install 'prefect-tune[pandas]'") from error
    return pandas


def check_file_type(file_type: str | None) -> str:
    """Return the file type to read results from; None is ``csv``.

    Raises:
        InvalidArgument: If it is neither ``csv`` nor ``json``.
    """
    if file_type is None:
        return FILE_TYPES[0]
    if file_type not in FILE_TYPES:
        raise InvalidArgument("file_type", f"got {file_type!r}.", 'It is "csv" or "json".')
    return file_type


def as_frame(rows: Sequence[Mapping[str, Any]], delimiter: str = "/") -> pd.DataFrame:
    """Return rows as a data frame; nested values get columns such as ``config/lr``."""
    frame: pd.DataFrame = load_pandas().json_normalize(list(rows), sep=delimiter)
    return frame


def read_frames(trials: Sequence[Trial], file_type: str) -> dict[str, pd.DataFrame]:
    """Return all results of each trial, by its directory; trials without results are left out.

    Files that cannot be read are skipped; how many is logged.

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
    """Return all results of the trial in a directory, None if there are none.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is not what its name says.
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
    # What is in the table, but with the types that only the other file knows: a text "001" looks
    # like a number in a table, and a text "NA" like nothing.
    shown = [flatten({k: v for k, v in result.items() if k != "config"}) for result in rows]
    frame: pd.DataFrame = pandas.DataFrame(shown)
    heads = [name for name in _header(progress) if name in frame]
    if rows and not heads:
        raise ValueError(f"{progress} is not the table of these results")
    return frame[[*heads, *(name for name in frame if name not in heads)]]


def trial_results(trial: Trial) -> list[dict[str, Any]]:
    """Return all results of a trial in its `result.json`, without lines that are damaged.

    Raises:
        OSError: If the file cannot be read.
    """
    path = os.path.join(trial.logdir, RESULT_FILE)
    if not os.path.exists(path):
        return []
    return [result for result in read_results(path) if result is not None]


def _header(progress: str) -> list[str]:
    with open(progress, newline="", encoding="utf-8", errors="replace") as file:
        return next(csv_reader(file), [])


def read_table(progress: str) -> dict[str, list[Any]]:
    """Return the columns of a `progress.csv`, as numbers and truth values where all cells are such.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such table.
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
        name: list(column) if name in _TEXTS else _typed(column)
        for name, column in zip(names, columns, strict=True)
    }


def _typed(column: Sequence[str]) -> list[Any]:
    """The values that the logger has written as these texts, as far as they tell."""
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
    """Return the results in a `result.json`, None for each line that is damaged."""
    with open(path, "rb") as file:
        for line in file:
            yield decode_result(line)


def decode_result(line: bytes) -> dict[str, Any] | None:
    """Return one line of a `result.json`, None if it is damaged."""
    try:
        result = orjson.loads(line)
    except ValueError:
        try:
            result = json.loads(line)  # knows NaN and Infinity
        except ValueError:
            return None
    return result if isinstance(result, dict) else None
