"""Everything that is known about the trials of an experiment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.results.data_frames import TrialFrames
from prefect_tune.results.download import copy_results, directory_of
from prefect_tune.results.journal_summary import ExperimentRecord, read_record
from prefect_tune.results.pareto import objectives
from prefect_tune.results.read_trials import find_experiments, load_trials
from prefect_tune.results.result import Result, file_system
from prefect_tune.trainable.tracked_checkpoint import locate_checkpoints

if TYPE_CHECKING:
    from prefect_tune.results.plots.draw import Plot


class ExperimentAnalysis(TrialFrames):
    """The trials of an experiment and what they reported.

    Args:
        experiment_checkpoint_path: The experiment directory, a file in it, or a local directory
            with experiments, whose trials are put together. It may have been moved since. A URL or
            a TuneStorage block works too: result files are copied here then.
        trials: The trials; None reads them from the directory.
        default_metric: Metric for everything that asks for the best; None means that it has to be
            given there.
        default_mode: ``min`` or ``max``.
        flow_run_id: Id of the Prefect flow run, if there was one.
        flow_run_url: Where to look at it.
        storage: Where checkpoints are, if that is not the experiment directory.
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
        several: list[str] = []
        self._copy: TemporaryDirectory[str] | None = None  # removed with this object
        if place.is_local:
            path = place.path
            self._path = os.path.dirname(path) if os.path.isfile(path) else path
            if trials is None:
                several = find_experiments(self._path)
                if len(several) == 1:
                    (self._path,) = several
            root = Location(self._path) if storage is None else storage
        else:
            self._copy = copy_results(place)
            self._path = directory_of(self._copy)
            root = place
        if not root.is_local:
            locate_checkpoints(self._path, root)
        super().__init__([] if trials is None else trials, root, default_metric, default_mode)
        self._record: ExperimentRecord | None = None
        if len(several) > 1:
            self.trials = [
                trial for path in several for trial in load_trials(path, read_record(path))
            ]
        elif trials is None:
            self._record = read_record(self._path)
            self.trials = load_trials(self._path, self._record)
            if default_metric is None:
                self._take_defaults(self._record)
        self.flow_run_id = flow_run_id
        self.flow_run_url = flow_run_url

    def _take_defaults(self, record: ExperimentRecord | None) -> None:
        """Take the metric, and the mode unless it was given, from the journal."""
        if record is None:
            return
        mode = self._objectives[1]
        known = record.header.arguments
        self._compare_by(known.get("metric"), known.get("mode") if mode is None else mode)

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
    def results(self) -> dict[str, dict[str, Any]]:
        """Last result of each trial, by trial id."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

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
            parameters: Parameters to show, flat (``net/units``); None is all that were searched,
                or of very many those that matter most.
            path: Where to save it, too: ``.png``, ``.svg``, ``.pdf`` or ``.html``.

        Returns:
            The picture; a notebook shows it, `save` writes it.

        Raises:
            InvalidArgument: If an argument has another value.
            TuneError: If there is nothing to draw.
            ImportError: If matplotlib is not installed; says what to install.
        """
        from prefect_tune.results.plots.draw import PARETO, draw

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

    def result_of(self, trial: Trial) -> Result:
        """What came out of one `trial`."""
        return Result.of(trial, self._root_of(trial))

    def runner_data(self) -> dict[str, Any]:
        """How the experiment was run, as its journal has it; empty if there is none.

        Returns:
            ``experiment_id``, ``name``, ``time`` (of the last start, in seconds since the epoch),
            ``trainable``, ``search``, ``scheduler``, ``stop``, ``space``, ``arguments``,
            ``prefect_tune``, ``python`` and others.
        """
        record = self._record or read_record(self._path)
        return {} if record is None else asdict(record.header)

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
