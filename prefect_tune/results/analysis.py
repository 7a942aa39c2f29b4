"""Everything that is known about the trials of an experiment."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prefect_tune.coordinator.flatten import flatten
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.results.by_trial import ByTrial
from prefect_tune.results.checkpoints import BY_AGE, best, newest, open_checkpoint, score
from prefect_tune.results.conditions import parse_all
from prefect_tune.results.frames import as_frame, check_file_type, load_pandas, read_frames
from prefect_tune.results.importance import importance
from prefect_tune.results.loading import flatten_config, load_trials
from prefect_tune.results.pareto import objectives, pareto_front, satisfying
from prefect_tune.results.ranking import best_of, check_mode, check_scope
from prefect_tune.results.ranking import score as score_of
from prefect_tune.results.record import ExperimentRecord, read_record
from prefect_tune.results.remote import copy_results, directory_of
from prefect_tune.results.result import Result, file_system

if TYPE_CHECKING:
    import pandas as pd

    from prefect_tune.checkpoint.checkpoint import Checkpoint
    from prefect_tune.plots import Plot

log = logging.getLogger(__name__)


class ExperimentAnalysis:
    """The trials of an experiment and what they reported.

    Args:
        experiment_checkpoint_path: The experiment directory, or a file in it. It may have been
            moved since. A URL or a TuneStorage block works too: result files are copied here then.
        trials: The trials; None reads them from the directory.
        default_metric: Metric for everything that asks for the best; None means that it has to be
            given there.
        default_mode: ``min`` or ``max``.
        flow_run_id: Id of the Prefect flow run, if there was one.
        flow_run_url: Where to look at it.
        storage: Where checkpoints are, if that is not the experiment directory.

    Raises:
        StorageError: If the directory cannot be read.
        InvalidArgument: If `default_mode` has another value.
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str] | Location,
        trials: list[Trial] | None = None,
        default_metric: str | list[str] | None = None,
        default_mode: str | list[str] | None = None,
        *,
        flow_run_id: str | None = None,
        flow_run_url: str | None = None,
        storage: Location | None = None,
    ) -> None:
        place = parse_location(experiment_checkpoint_path, "experiment_checkpoint_path")
        self._copy: TemporaryDirectory[str] | None = None  # removed with this object
        if place.is_local:
            path = place.path
            self._path = os.path.dirname(path) if os.path.isfile(path) else path
            self._root = Location(self._path) if storage is None else storage
        else:
            self._copy = copy_results(place)
            self._path = directory_of(self._copy)
            self._root = place
        if isinstance(default_mode, str):
            check_mode(default_mode, "default_mode")
        self._objectives = (default_metric, default_mode)
        # With several objectives there is no best trial unless one metric is named.
        self.default_metric: str | None = (
            default_metric if isinstance(default_metric, str) else None
        )
        self.default_mode: str | None = default_mode if isinstance(default_mode, str) else None
        self.trials: list[Trial] = [] if trials is None else trials
        self._record: ExperimentRecord | None = None
        if trials is None:
            self._record = read_record(self._path)
            self.trials = load_trials(self._path, self._record)
            self._take_defaults(default_metric is None, default_mode is None)
        self.flow_run_id = flow_run_id
        self.flow_run_url = flow_run_url
        self._file_type = check_file_type(None)
        self._frames: dict[str, pd.DataFrame] | None = None

    def _take_defaults(self, metric: bool, mode: bool) -> None:
        """Take metric and mode from the journal, where nobody gave them."""
        if self._record is None or not metric:
            return
        found = self._record.argument("metric")
        given = self._record.argument("mode") if mode else self._objectives[1]
        self._objectives = (found, given)
        self.default_metric = found if isinstance(found, str) else None
        if mode and given in ("min", "max"):
            self.default_mode = str(given)

    def __repr__(self) -> str:
        return f"<ExperimentAnalysis of {len(self.trials)} trials in {self.experiment_path}>"

    @property
    def experiment_path(self) -> str:
        """The experiment directory, or its URL if it was read from there."""
        return self._path if self._copy is None else self._root.url

    @property
    def filesystem(self) -> Any:
        """The fsspec file system on which `experiment_path` lies."""
        return file_system(self._root)

    @property
    def best_trial(self) -> Trial | None:
        """The trial with the best last value of the default metric, None if there is none.

        Raises:
            InvalidArgument: If there is no default metric or mode; so do all ``best_`` members.
        """
        return self.get_best_trial()

    @property
    def best_config(self) -> dict[str, Any] | None:
        """Configuration of the best trial."""
        return self.get_best_config()

    @property
    def best_logdir(self) -> str | None:
        """Directory of the best trial."""
        return self.get_best_logdir()

    @property
    def best_result(self) -> dict[str, Any] | None:
        """Last result of the best trial."""
        trial = self.best_trial
        return None if trial is None else trial.last_result

    @property
    def best_result_df(self) -> pd.DataFrame:
        """Last result of the best trial as a frame with one row, indexed by trial id."""
        result = self.best_result
        return self._indexed([] if result is None else [result])

    @property
    def best_dataframe(self) -> pd.DataFrame | None:
        """All results of the best trial, None if there are none."""
        logdir = self.best_logdir
        return None if logdir is None else self.trial_dataframes.get(logdir)

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Last result of each trial, by trial id."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pd.DataFrame:
        """Last results of all trials that reported, one row each, indexed by trial id."""
        return self._indexed([trial.last_result for trial in self.trials if trial.last_result])

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """All results of each trial, by its directory or id."""
        if self._frames is None:
            return self.fetch_trial_dataframes()
        return self._frames

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> Trial | None:
        """The best trial; None (with a warning) if no trial has a value of the metric.

        Args:
            metric: Name of the metric, nested ones with ``/``; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: ``last``: compare last values; ``avg``: means over all results; ``last-5-avg``,
                ``last-10-avg``: means over the last ones; ``all``: best values of all results.
            filter_nan_and_inf: False lets an infinite value be the best; NaN never is.
            constraints: Conditions on last results and configurations, such as
                ``"latency <= 20"`` or ``"config/lr < 0.1"``; trials that miss one do not count.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
        """
        metric, mode = self._metric_and_mode(metric, mode)
        conditions = parse_all(constraints)
        candidates = satisfying(self.trials, conditions)
        best = best_of(candidates, metric, mode, scope, filter_nan_and_inf)
        if best is None:
            log.warning(
                "There is no best trial: none of %d has a %svalue of the metric %r%s.",
                len(self.trials),
                "finite " if filter_nan_and_inf else "",
                metric,
                " and fulfils the constraints" if conditions else "",
            )
        return best

    def get_pareto_trials(
        self,
        metric: str | Sequence[str] | Mapping[str, str] | None = None,
        mode: str | Sequence[str] | None = None,
        scope: str = "last",
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> list[Trial]:
        """The trials that no other trial beats in all of several metrics.

        Args:
            metric: Names of metrics, or names with modes; None are the experiment's.
            mode: One mode for all, or one for each; None are the experiment's.
            scope: As for `get_best_trial`.
            constraints: As for `get_best_trial`.

        Returns:
            The trials, best of the first metric first.

        Raises:
            InvalidArgument: If metrics or modes are missing, or an argument has another value.
        """
        check_scope(scope)
        metric = self._objectives[0] if metric is None else metric
        mode = self._objectives[1] if mode is None else mode
        return pareto_front(
            satisfying(self.trials, parse_all(constraints)), objectives(metric, mode), scope
        )

    def get_parameter_importance(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, float]:
        """The share of the differences between trials that each parameter explains by itself.

        See `prefect_tune.results.importance.importance` for how it is estimated; arguments are
        those of `get_best_trial`.

        Returns:
            Parameter -> share from 0 to 1, largest first; empty with too few trials to tell.
        """
        metric, mode = self._metric_and_mode(metric, mode)
        scored = [(t, score_of(t, metric, mode, check_scope(scope))) for t in self.trials]
        known = [(trial.evaluated_params, value) for trial, value in scored if value is not None]
        return importance([params for params, _ in known], [value for _, value in known], mode)

    def plot(
        self,
        kind: str = "curves",
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        *,
        parameters: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Plot:
        """Draw the experiment.

        Args:
            kind: ``curves``: the metric over the iterations; ``slices``: its last value by
                parameter; ``parallel``: parallel coordinates; ``importance``: how much each
                parameter matters; ``contours``: the metric over pairs of parameters; ``pareto``:
                two metrics against each other; ``overview``: curves and slices.
            metric: Metric, two of them for ``pareto``; None is the experiment's.
            mode: ``min`` or ``max``; None is the experiment's.
            parameters: Parameters to show, flat (``net/units``); None is all that were searched.
            path: Where to save it, too: ``.png``, ``.svg``, ``.pdf`` or ``.html``.

        Returns:
            The picture; a notebook shows it, `save` writes it.

        Raises:
            InvalidArgument: If an argument has another value.
            TuneError: If there is nothing to draw.
            ImportError: If matplotlib is not installed; says what to install.
        """
        from prefect_tune.plots import PARETO, draw

        if kind == PARETO:
            metric = self._objectives[0] if metric is None else metric
            mode = self._objectives[1] if mode is None else mode
            wanted = objectives(metric, mode)
        else:
            name = metric if isinstance(metric, str) or metric is None else metric[0]
            single = mode if isinstance(mode, str) or mode is None else mode[0]
            wanted = dict([self._metric_and_mode(name, single)])
        picture = draw(self.trials, kind, wanted, parameters)
        if path is not None:
            picture.save(path)
        return picture

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """Configuration of the best trial; arguments as for `get_best_trial`."""
        trial = self.get_best_trial(metric, mode, scope)
        return None if trial is None else trial.config

    def get_best_logdir(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> str | None:
        """Directory of the best trial; arguments as for `get_best_trial`."""
        trial = self.get_best_trial(metric, mode, scope)
        return None if trial is None else trial.logdir

    def result_of(self, trial: Trial) -> Result:
        """What came out of one trial."""
        return Result.of(trial, self._root)

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best checkpoint of the best trial, by the default metric; None if it has none."""
        trial = self.best_trial
        return None if trial is None else self.get_best_checkpoint(trial)

    def get_trial_checkpoints_paths(
        self, trial: Trial, metric: str | None = None
    ) -> list[tuple[str, float | None]]:
        """Path (or URL) of each kept checkpoint of a trial, with its value of a metric.

        Args:
            trial: The trial.
            metric: None is the default metric, and `training_iteration` if there is none.
        """
        metric = metric or self.default_metric or BY_AGE
        return [(str(self._root / c.path), score(c, metric)) for c in trial.checkpoints]

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The kept checkpoint of a trial with the best value of a metric.

        Returns:
            The checkpoint; it can be used as a path. None (with a warning) if the trial has none.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
        """
        metric, mode = self._metric_and_mode(metric, mode)
        found = best(trial.checkpoints, metric, mode)
        if found is None:
            log.warning("%s has no checkpoint with a value of the metric %r.", trial, metric)
        return None if found is None else open_checkpoint(found, self._root)

    def get_last_checkpoint(
        self, trial: Trial | None = None, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The newest checkpoint of a trial, None if it has none.

        Args:
            trial: None is the best trial.
            metric: Metric to find the best trial by; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.

        Raises:
            InvalidArgument: If no trial is given and metric or mode is missing.
        """
        if trial is None:
            trial = self.get_best_trial(metric, mode)
        found = None if trial is None else newest(trial)
        return None if found is None else open_checkpoint(found, self._root)

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration of each trial, by its directory or id.

        Args:
            prefix: True flattens them and puts ``config/`` in front of each name.
        """
        return ByTrial((t, _prefixed(t.config) if prefix else t.config) for t in self.trials)

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """One row per trial that reported: a result, the configuration and the directory.

        Args:
            metric: Take each trial's result with the best value of this metric; None takes the last
                result.
            mode: ``min`` or ``max``; has to be given with `metric`.

        Raises:
            InvalidArgument: If only one of both is given, or the mode has another value.
            ImportError: If pandas is not installed.
        """
        if (metric is None) != (mode is None):
            missing, given = ("mode", "metric") if mode is None else ("metric", "mode")
            raise InvalidArgument(missing, f"it is missing, though {given} is given.")
        rows = []
        for trial in self.trials:
            row: dict[str, Any] | None
            if metric is None or mode is None:
                row = {k: v for k, v in trial.last_result.items() if k != "config"}
            else:
                row = self._best_row(trial, metric, check_mode(mode))
            if row:
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

    def runner_data(self) -> dict[str, Any]:
        """How the experiment was run, as its journal has it; empty if there is none.

        Returns:
            ``experiment_id``, ``name``, ``time`` (of the last start, in seconds since the epoch),
            ``trainable``, ``search``, ``scheduler``, ``stop``, ``space``, ``arguments``,
            ``prefect_tune``, ``python`` and others.
        """
        record = self._record or read_record(self._path)
        return {} if record is None or record.header is None else asdict(record.header)

    def stats(self) -> dict[str, Any]:
        """Numbers about the experiment.

        Returns:
            ``trials``, ``results``: how many; ``status``: trials by status; ``start_time``,
            ``timestamp``: seconds since the epoch of the first start and the last result, None if
            there was none; ``trial_time_s``: seconds that all trials took together.
        """
        starts = [trial.start_time for trial in self.trials if trial.start_time]
        updates = [trial.last_update_time for trial in self.trials if trial.last_update_time]
        return {
            "trials": len(self.trials),
            "results": sum(trial.results_seen for trial in self.trials),
            "status": dict(Counter(trial.status for trial in self.trials)),
            "start_time": min(starts, default=None),
            "timestamp": max(updates, default=None),
            "trial_time_s": sum(t.last_result.get("time_total_s") or 0 for t in self.trials),
        }

    def _metric_and_mode(self, metric: str | None, mode: str | None) -> tuple[str, str]:
        metric = self.default_metric if metric is None else metric
        mode = self.default_mode if mode is None else mode
        if metric is None:
            raise InvalidArgument(
                "metric", "no metric to compare trials by.", "Give it here or to the experiment."
            )
        if mode is None:
            raise InvalidArgument(
                "mode", "no mode to compare trials by.", 'Give "min" or "max" here or there.'
            )
        return metric, check_mode(mode)

    def _best_row(self, trial: Trial, metric: str, mode: str) -> dict[str, Any] | None:
        frame = self.trial_dataframes.get(trial.logdir)
        if frame is None or metric not in frame:
            return None
        values = load_pandas().to_numeric(frame[metric], errors="coerce").dropna()
        if not len(values):
            return None
        row = frame.loc[values.idxmax() if mode == "max" else values.idxmin()]
        return {str(name): value for name, value in row.to_dict().items()}

    def _indexed(self, results: list[dict[str, Any]]) -> pd.DataFrame:
        frame = as_frame(results)
        return frame.set_index("trial_id") if "trial_id" in frame else frame


def _prefixed(config: dict[str, Any]) -> dict[str, Any]:
    return {f"config/{name}": value for name, value in flatten_config(config).items()}
