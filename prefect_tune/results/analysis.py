"""`ExperimentAnalysis`: the trials of an experiment, their results and the best of them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prefect_tune.checkpoint.checkpoint import open_checkpoint
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.results.download import copy_results
from prefect_tune.results.find_checkpoints import (
    BY_AGE,
    best_index,
    checkpoint_value,
    find_trial,
    last_checkpoint,
)
from prefect_tune.results.frames import (
    ByTrial,
    check_file_type,
    last_results,
    one_row_per_trial,
    read_frames,
)
from prefect_tune.results.importance import importance
from prefect_tune.results.journal_summary import Copy, ExperimentRecord, lineage_of, read_record
from prefect_tune.results.ranking import (
    best_of,
    check_scope,
    describe_unknown_names,
    pareto_front,
    parse_conditions,
    parse_objectives,
    prefixed_config,
    resolve_metric_and_mode,
    satisfying,
    score,
)
from prefect_tune.results.read_trials import find_experiments, load_trials
from prefect_tune.results.result import Result, fsspec_filesystem
from prefect_tune.trainable.tracked_checkpoint import checkpoint_root, set_checkpoint_root
from prefect_tune.validation import check_mode

if TYPE_CHECKING:
    import pandas as pd

    from prefect_tune.checkpoint.checkpoint import Checkpoint
    from prefect_tune.results.plots.picture import Plot

log = logging.getLogger(__name__)


class ExperimentAnalysis:
    """The trials of an experiment and what they reported.

    Args:
        experiment_checkpoint_path: The experiment directory, a file in it, or a local directory
            of experiments, whose trials are then analysed together. The directory may have been
            moved since the run. With a URL or a TuneStorage block, the result files are copied to
            a temporary directory.
        trials: The trials; None reads them from the directory.
        default_metric: The metric that ranks trials where a method is given none.
        default_mode: ``min`` or ``max``.
        flow_run_id: Id of the Prefect flow run, if there was one.
        flow_run_url: URL of the flow run in Prefect's UI.
        storage: Where checkpoints are stored, if that is not the experiment directory.
        storage_filesystem: An fsspec file system that `experiment_checkpoint_path` is on.

    Raises:
        StorageError: If the directory cannot be read, or there is no experiment in it.
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
        storage_filesystem: Any = None,
    ) -> None:
        place = parse_location(
            experiment_checkpoint_path, "experiment_checkpoint_path", storage_filesystem
        )
        if isinstance(default_mode, str):
            check_mode(default_mode, "default_mode")
        self._copy: TemporaryDirectory[str] | None = None  # removed with this object
        if place.is_local:
            self._path = os.path.dirname(place.path) if os.path.isfile(place.path) else place.path
            found = [self._path] if trials is not None else find_experiments(self._path)
            if len(found) == 1:
                (self._path,) = found
            self._root = Location(self._path) if storage is None else storage
        else:
            self._copy = copy_results(place)
            self._path = str(next(Path(self._copy.name).iterdir()))
            found, self._root = [self._path], place
        if not self._root.is_local:
            set_checkpoint_root(self._path, self._root)
        self._record: ExperimentRecord | None = None  # read when it is first needed
        if trials is None:
            trials = []
            for path in found:
                record = read_record(path)
                trials += load_trials(path, record)
                if record is not None and len(found) == 1:
                    self._record = record
                    if default_metric is None:
                        default_metric = record.header.arguments.get("metric")
                        default_mode = default_mode or record.header.arguments.get("mode")
        self.trials = trials
        self._objectives = (default_metric, default_mode)
        # With several objectives there is no best trial unless one metric is named.
        self.default_metric = default_metric if isinstance(default_metric, str) else None
        self.default_mode = default_mode if isinstance(default_mode, str) else None
        self._file_type = check_file_type(None)
        self._frames: dict[str, pd.DataFrame] | None = None  # read when they are first needed
        self.flow_run_id = flow_run_id
        self.flow_run_url = flow_run_url

    def __repr__(self) -> str:
        return f"<ExperimentAnalysis of {len(self.trials)} trials in {self.experiment_path}>"

    @property
    def experiment_path(self) -> str:
        """The experiment directory, or its URL if the experiment was read from a URL."""
        return self._path if self._copy is None else self._root.url

    @property
    def filesystem(self) -> Any:
        """The fsspec file system on which `experiment_path` lies."""
        return fsspec_filesystem(self._root)

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
    def best_checkpoint(self) -> Checkpoint | None:
        """The best checkpoint of the best trial, by the default metric; None if there is none."""
        trial = self.best_trial
        return None if trial is None else self.get_best_checkpoint(trial)

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> Trial | None:
        """Return the trial with the best metric; None (with a warning) if no trial reported it.

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
        conditions = parse_conditions(constraints)
        candidates = satisfying(self.trials, conditions)
        trial = best_of(candidates, metric, mode, scope, filter_nan_and_inf)
        if trial is None:
            unknown = describe_unknown_names(self.trials, conditions)
            log.warning(
                "There is no best trial: none of %d has a %svalue of the metric %r%s.",
                len(self.trials),
                "finite " if filter_nan_and_inf else "",
                metric,
                f" and fulfils the constraints{unknown}" if conditions else "",
            )
        return trial

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """Return the configuration of the best trial; None if no trial reported the metric.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.
        """
        trial = self.get_best_trial(metric, mode, scope)
        return None if trial is None else trial.config

    def get_best_logdir(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> str | None:
        """Return the directory of the best trial; None if no trial reported the metric.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.
        """
        trial = self.get_best_trial(metric, mode, scope)
        return None if trial is None else trial.logdir

    def get_pareto_trials(
        self,
        metric: str | Sequence[str] | Mapping[str, str] | None = None,
        mode: str | Sequence[str] | None = None,
        scope: str = "last",
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> list[Trial]:
        """Return the Pareto set: the trials that no other trial beats in all of several metrics.

        Args:
            metric: Names of metrics, or a dict of names and modes; None takes the experiment's.
            mode: One mode for all metrics, or one for each; None takes the experiment's.
            scope: As for `get_best_trial`.
            constraints: As for `get_best_trial`.

        Returns:
            The trials, best of the first metric first.

        Raises:
            InvalidArgument: If metrics or modes are missing, or an argument has another value.
        """
        check_scope(scope)
        candidates = satisfying(self.trials, parse_conditions(constraints))
        return pareto_front(candidates, self._metrics_and_modes(metric, mode), scope)

    def get_parameter_importance(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, float]:
        """Return how much of the differences between trials each parameter explains by itself.

        `prefect_tune.results.importance` says how it is estimated.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.

        Returns:
            Parameter -> share from 0 to 1, largest first; empty with fewer than 6 trials.
        """
        metric, mode = self._metric_and_mode(metric, mode)
        scored = [(t, score(t, metric, mode, check_scope(scope))) for t in self.trials]
        known = [(trial.evaluated_params, value) for trial, value in scored if value is not None]
        return importance([params for params, _ in known], [value for _, value in known], mode)

    def get_trial_checkpoints_paths(
        self, trial: Trial | str | os.PathLike[str], metric: str | None = None
    ) -> list[tuple[str, float | None]]:
        """Return the path (or URL) of each kept checkpoint of a trial, with its value of a metric.

        Args:
            trial: The trial, its directory or its id.
            metric: None is the default metric, and `training_iteration` if there is none.

        Raises:
            InvalidArgument: If there is no such trial.
        """
        metric = metric or self.default_metric or BY_AGE
        found = find_trial(self.trials, trial)
        root = self._root_of(found)
        return [(str(root / c.path), checkpoint_value(c, metric)) for c in found.checkpoints]

    def get_best_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str],
        metric: str | None = None,
        mode: str | None = None,
    ) -> Checkpoint | None:
        """Return the kept checkpoint of a trial with the best value of a metric.

        Args:
            trial: The trial, its directory or its id.
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.

        Returns:
            The checkpoint; it can be used as a path. None (with a warning) if the trial has none.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
        """
        trial = find_trial(self.trials, trial)
        metric, mode = self._metric_and_mode(metric, mode)
        saved = trial.checkpoints
        best = best_index((checkpoint_value(checkpoint, metric) for checkpoint in saved), mode)
        if best is None:
            log.warning("%s has no checkpoint with a value of the metric %r.", trial, metric)
        return None if best is None else open_checkpoint(saved[best], self._root_of(trial))

    def get_last_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> Checkpoint | None:
        """Return the newest checkpoint of a trial, None if it has none.

        Args:
            trial: The trial, its directory or its id; None is the best trial.
            metric: Metric to find the best trial by; None is the default metric. If there is none,
                the trial with the most training iterations is taken.
            mode: ``min`` or ``max``; None is the default mode.

        Raises:
            InvalidArgument: If a metric is given without a mode, or there is no such trial.
        """
        if trial is None and metric is None and self.default_metric is None:
            metric, mode = BY_AGE, "max"
        chosen = (
            self.get_best_trial(metric, mode) if trial is None else find_trial(self.trials, trial)
        )
        found = None if chosen is None else last_checkpoint(chosen)
        if chosen is None or found is None:
            return None
        return open_checkpoint(found, self._root_of(chosen))

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Last result of each trial, by trial id."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def best_result_df(self) -> pd.DataFrame:
        """Last result of the best trial as a data frame of one row, with `results_df`'s columns."""
        trial = self.best_trial
        return last_results([] if trial is None else [trial])

    @property
    def best_dataframe(self) -> pd.DataFrame | None:
        """All results of the best trial, one row each; None if there are none."""
        logdir = self.best_logdir
        return None if logdir is None else self.trial_dataframes.get(logdir)

    @property
    def results_df(self) -> pd.DataFrame:
        """Last results of all trials that reported, one row each, indexed by trial id.

        The parts of nested names are joined by `TUNE_RESULT_DELIM`, a slash by default.
        """
        return last_results(self.trials)

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """All results of each trial, one row each, by the trial's directory or id."""
        if self._frames is None:
            return self.fetch_trial_dataframes()
        return self._frames

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """Return the configuration of each trial, by its directory or id.

        Args:
            prefix: True flattens the configurations and puts ``config/`` in front of each name.
        """
        return ByTrial((t, prefixed_config(t.config) if prefix else t.config) for t in self.trials)

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """Return one row per trial with a result: the result, configuration and directory.

        Args:
            metric: Take each trial's result with the best value of this metric. Without it, and for
                a trial that never reported it, the last result is taken.
            mode: ``min`` or ``max``. The mode of the experiment does not count here; without one,
                the last result is taken, as on Ray Tune.

        Raises:
            InvalidArgument: If there is a mode but no metric, or the mode has another value.
            ImportError: If pandas is not installed.
        """
        return one_row_per_trial(self.trials, metric, mode, lambda: self.trial_dataframes)

    def fetch_trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """Read all results of each trial again, by its directory; unreadable files are skipped.

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
            InvalidArgument: If `file_type` has another value.
        """
        self._file_type, self._frames = check_file_type(file_type), None

    def lineage(self, trial: Trial | str) -> list[Copy]:
        """Return the copies of checkpoints that a trial descends from, oldest first.

        Args:
            trial: A trial that population based training was used with, or its id.
        """
        return lineage_of(trial if isinstance(trial, str) else trial.trial_id, self.copies())

    def copies(self) -> list[Copy]:
        """Return each case of a trial that continued from another trial's checkpoint, in order."""
        record = self._read_record()
        return [] if record is None else record.copies

    def plot(
        self,
        kind: str = "curves",
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        *,
        parameters: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Plot:
        """Draw a picture of the experiment with matplotlib.

        Args:
            kind: ``curves``: the metric over the iterations; ``slices``: its last value by
                parameter; ``parallel``: parallel coordinates; ``importance``: how much each
                parameter matters; ``contours``: the metric over pairs of parameters; ``pareto``:
                two metrics against each other; ``lineage``: which trial went on from which
                other one, and hyperparameters over time; ``overview``: curves and slices.
            metric: Metric, two of them for ``pareto``; None is the experiment's.
            mode: ``min`` or ``max``; None is the experiment's.
            parameters: Parameters to show, flat (``net/units``); None is all that were searched,
                or of very many those that matter most.
            path: File to save the picture to: ``.png``, ``.svg``, ``.pdf`` or ``.html``.

        Returns:
            The picture; a notebook shows it, `save` writes it.

        Raises:
            InvalidArgument: If an argument has another value.
            TuneError: If there is nothing to draw.
            ImportError: If matplotlib is not installed; says what to install.
        """
        from prefect_tune.results.plots.draw import LINEAGE, PARETO, draw

        wanted: dict[str, str] = {}
        copies = self.copies() if kind == LINEAGE else []
        if kind == PARETO:
            wanted = self._metrics_and_modes(metric, mode)
        elif kind != LINEAGE:
            name = metric if isinstance(metric, str) or metric is None else metric[0]
            single = mode if isinstance(mode, str) or mode is None else mode[0]
            wanted = dict([self._metric_and_mode(name, single)])
        picture = draw(self.trials, kind, wanted, parameters, copies=copies)
        if path is not None:
            picture.save(path)
        return picture

    def result_of(self, trial: Trial) -> Result:
        """Return the `Result` of `trial`."""
        return Result.of(trial, self._root_of(trial))

    def runner_data(self) -> dict[str, Any]:
        """Return how the experiment was run, as its journal says; empty without a journal.

        Returns:
            ``experiment_id``, ``name``, ``time`` (of the last start, in seconds since the epoch),
            ``trainable``, ``search``, ``scheduler``, ``stop``, ``space``, ``arguments`` and others.
        """
        record = self._read_record()
        return {} if record is None else asdict(record.header)

    def stats(self) -> dict[str, Any]:
        """Return counts of trials and results, and the times of the experiment.

        Returns:
            ``trials``, ``results``: how many; ``status``: trials by status; ``start_time``,
            ``timestamp``: seconds since the epoch of the first start and the last result, None if
            there was none; ``trial_time_s``: sum of the seconds that the trials ran.
        """
        starts = [trial.start_time for trial in self.trials if trial.start_time]
        updates = [trial.last_update_time for trial in self.trials if trial.last_update_time]
        return {
            "trials": len(self.trials),
            "results": sum(trial.results_seen for trial in self.trials),
            "status": dict(Counter(trial.status for trial in self.trials)),
            "start_time": min(starts, default=None),
            "timestamp": max(updates, default=None),
            "trial_time_s": sum(
                finite_number(trial.last_result.get("time_total_s")) or 0 for trial in self.trials
            ),
        }

    def _read_record(self) -> ExperimentRecord | None:
        if self._record is None:
            self._record = read_record(self._path)
        return self._record

    def _root_of(self, trial: Trial) -> Location:
        """Return where a trial's checkpoints are, also if several experiments are analysed."""
        first, last = self.trials[0], self.trials[-1]
        several = first.local_experiment_dir != last.local_experiment_dir
        return checkpoint_root(trial.local_experiment_dir) if several else self._root

    def _metric_and_mode(self, metric: str | None, mode: str | None) -> tuple[str, str]:
        return resolve_metric_and_mode(
            self.trials,
            self.default_metric if metric is None else metric,
            self.default_mode if mode is None else mode,
        )

    def _metrics_and_modes(
        self,
        metric: str | Sequence[str] | Mapping[str, str] | None,
        mode: str | Sequence[str] | None,
    ) -> dict[str, str]:
        default_metric, default_mode = self._objectives
        return parse_objectives(
            default_metric if metric is None else metric, default_mode if mode is None else mode
        )
