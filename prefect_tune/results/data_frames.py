"""The results of several trials as pandas data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.results.frames import ByTrial, as_frame, check_file_type, load_pandas, read_frames
from prefect_tune.results.pareto import prefixed_config
from prefect_tune.settings import load_settings
from prefect_tune.validation import check_mode

if TYPE_CHECKING:
    import pandas as pd


class TrialFrames:
    """Makes data frames of trials' results, and caches what was read from files.

    Args:
        file_type: The files to read results from: ``csv`` or ``json``; None is ``csv``.

    Raises:
        InvalidArgument: If `file_type` has another value.
    """

    def __init__(self, file_type: str | None = None) -> None:
        self._file_type = check_file_type(file_type)
        self._read: dict[str, pd.DataFrame] | None = None

    def by_trial(self, trials: Sequence[Trial], reread: bool = False) -> dict[str, pd.DataFrame]:
        """Return all results of each trial, read once from its files unless `reread`."""
        if self._read is None or reread:
            self._read = read_frames(trials, self._file_type)
        return self._read

    def last_results(self, trials: Sequence[Trial]) -> pd.DataFrame:
        """Return the last result of each trial that reported, indexed by trial id."""
        results = [trial.last_result for trial in trials if has_reported(trial)]
        frame = as_frame(results, load_settings().result_delimiter)
        return frame.set_index("trial_id") if "trial_id" in frame else frame

    def configs(self, trials: Sequence[Trial], prefix: bool) -> dict[str, dict[str, Any]]:
        """Return each trial's configuration; `prefix` flattens it and prefixes ``config/``."""
        return ByTrial((t, prefixed_config(t.config) if prefix else t.config) for t in trials)

    def one_row_per_trial(
        self, trials: Sequence[Trial], metric: str | None, mode: str | None
    ) -> pd.DataFrame:
        """Return one row per trial with a result: its best by `metric` and `mode`, else its last.

        Raises:
            InvalidArgument: If there is a mode but no metric, or the mode has another value.
        """
        if mode is not None and metric is None:
            raise InvalidArgument("metric", "it is missing, though mode is given.")
        rows = []
        for trial in filter(has_reported, trials):
            row: dict[str, Any] | None = None
            if metric is not None and mode is not None:
                row = _best_row(self.by_trial(trials).get(trial.logdir), metric, check_mode(mode))
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
