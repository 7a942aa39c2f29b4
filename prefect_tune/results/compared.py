"""Trials that are compared by a metric."""

from __future__ import annotations

import os

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.result import DEFAULT_METRIC
from prefect_tune.results.ranking import check_mode
from prefect_tune.trainable.tracked_checkpoint import checkpoint_root


class ComparedTrials:
    """The trials of an experiment, and what they are compared by if nothing else is asked for.

    Args:
        trials: The trials.
        root: The experiment directory, where their checkpoints are.
        metric: The metric, or several.
        mode: ``min`` or ``max``; with several metrics one for all or one for each.

    Raises:
        InvalidArgument: If the mode has another value.
    """

    def __init__(
        self,
        trials: list[Trial],
        root: Location,
        metric: str | list[str] | None,
        mode: str | list[str] | None,
    ) -> None:
        self.trials = trials
        self._root = root
        self._compare_by(metric, mode)

    def _compare_by(self, metric: str | list[str] | None, mode: str | list[str] | None) -> None:
        if isinstance(mode, str):
            check_mode(mode, "default_mode")
        self._objectives = (metric, mode)
        # With several objectives there is no best trial unless one metric is named.
        self.default_metric: str | None = metric if isinstance(metric, str) else None
        self.default_mode: str | None = mode if isinstance(mode, str) else None

    def _trial(self, named: Trial | str | os.PathLike[str]) -> Trial:
        """The trial itself, or the one that has this directory or id."""
        if isinstance(named, Trial):
            return named
        name = os.fspath(named)
        for trial in self.trials:
            if name == trial.trial_id or os.path.normpath(name) == trial.logdir:
                return trial
        raise InvalidArgument(
            "trial",
            f"none of {len(self.trials)} has the directory or the id {name!r}.",
            "Give a Trial, e.g. one of `trials`, its `logdir` or its `trial_id`.",
        )

    def _root_of(self, trial: Trial) -> Location:
        """Where the checkpoints of a trial are, also one of several experiments put together."""
        first, last = self.trials[0], self.trials[-1]
        several = first.local_experiment_dir != last.local_experiment_dir
        return checkpoint_root(trial.local_experiment_dir) if several else self._root

    def _metric_and_mode(self, metric: str | None, mode: str | None) -> tuple[str, str]:
        metric = self.default_metric if metric is None else metric
        if metric is None and any(DEFAULT_METRIC in trial.last_result for trial in self.trials):
            metric = DEFAULT_METRIC  # what trials reported is one number without a name
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
