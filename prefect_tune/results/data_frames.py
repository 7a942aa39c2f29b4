"""The results of an experiment as pandas data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.nested import flatten, flatten_config
from prefect_tune.results.best import BestTrials
from prefect_tune.results.frames import ByTrial, as_frame, check_file_type, load_pandas, read_frames
from prefect_tune.results.ranking import check_mode
from prefect_tune.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd


class TrialFrames(BestTrials):
    """Trials whose results can be had as data frames; see `ComparedTrials` for its arguments."""

    def __init__(
        self,
        trials: list[Trial],
        root: Location,
        metric: str | list[str] | None,
        mode: str | list[str] | None,
    ) -> None:
        super().__init__(trials, root, metric, mode)
        self._file_type = check_file_type(None)
        self._frames: dict[str, pd.DataFrame] | None = None

    @property
    def best_result_df(self) -> pd.DataFrame:
        """Last result of the best trial, with one row and names like those of `results_df`."""
        result = self.best_result
        return self._indexed([] if result is None else [result])

    @property
    def best_dataframe(self) -> pd.DataFrame | None:
        """All results of the best trial, None if there are none."""
        logdir = self.best_logdir
        return None if logdir is None else self.trial_dataframes.get(logdir)

    @property
    def results_df(self) -> pd.DataFrame:
        """Last results of all trials that reported, one row each, indexed by trial id.

        The parts of nested names are joined by `TUNE_RESULT_DELIM`, a slash by default.
        """
        return self._indexed([trial.last_result for trial in self.trials if has_reported(trial)])

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """All results of each trial, by its directory or id."""
        if self._frames is None:
            return self.fetch_trial_dataframes()
        return self._frames

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration of each trial, by its directory or id.

        Args:
            prefix: True flattens them and puts ``config/`` in front of each name.
        """
        return ByTrial((t, _prefixed(t.config) if prefix else t.config) for t in self.trials)

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """One row per trial that reported: a result, the configuration and the directory.

        Args:
            metric: Take each trial's result with the best value of this metric. Without it, and for
                a trial that never reported it, the last result is taken.
            mode: ``min`` or ``max``. The mode of the experiment does not count here; without one,
                the last result is taken, as on Ray Tune.

        Raises:
            InvalidArgument: If there is a mode but no metric, or the mode has another value.
            ImportError: If pandas is not installed.
        """
        if mode is not None and metric is None:
            raise InvalidArgument("metric", "it is missing, though mode is given.")
        rows = []
        for trial in filter(has_reported, self.trials):
            row: dict[str, Any] | None = None
            if metric is not None and mode is not None:
                row = self._best_row(trial, metric, check_mode(mode))
            if row is None:
                row = {k: v for k, v in trial.last_result.items() if k != "config"}
            rows.append({**flatten(row), **_prefixed(trial.config), "logdir": trial.logdir})
        return load_pandas().DataFrame(rows)  # type: ignore[no-any-return]

    def fetch_trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """Read all results of each trial anew, by its directory.

        Unreadable files are skipped; how many is logged.

        Raises:
            ImportError: If pandas is not installed.
        """
        self._frames = read_frames(self.trials, self._file_type)
        return self._frames

    def set_filetype(self, file_type: str | None = None) -> None:
        """Choose the files that data frames are read from.

        Args:
            file_type: ``csv`` or ``json``; None is ``csv``.

        Raises:
            InvalidArgument: If it has another value.
        """
        self._file_type = check_file_type(file_type)
        self._frames = None

    def _best_row(self, trial: Trial, metric: str, mode: str) -> dict[str, Any] | None:
        frame = self.trial_dataframes.get(trial.logdir)
        if frame is None or metric not in frame:
            return None
        values = load_pandas().to_numeric(frame[metric], errors="coerce").dropna()
        if not len(values):
            return None
        index = values.idxmax() if mode == "max" else values.idxmin()
        (row,) = frame.loc[[index]].to_dict("records")
        return {str(name): value for name, value in row.items()}

    def _indexed(self, results: list[dict[str, Any]]) -> pd.DataFrame:
        frame = as_frame(results, load_settings().result_delimiter)
        return frame.set_index("trial_id") if "trial_id" in frame else frame


def has_reported(trial: Trial) -> bool:
    """True if the trial has a result; one without is only marked as done."""
    return any(name != "done" for name in trial.last_result)


def _prefixed(config: dict[str, Any]) -> dict[str, Any]:
    return {f"config/{name}": value for name, value in flatten_config(config).items()}
