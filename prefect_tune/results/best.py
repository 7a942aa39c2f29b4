"""The best trials of an experiment and their checkpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.checkpoint.open import open_checkpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.results.compared import ComparedTrials
from prefect_tune.results.conditions import Condition, parse_all
from prefect_tune.results.find_checkpoints import BY_AGE, best, newest, value_of
from prefect_tune.results.importance import importance
from prefect_tune.results.pareto import objectives, pareto_front, row_of, satisfying
from prefect_tune.results.ranking import best_of, check_scope
from prefect_tune.results.ranking import score as score_of

if TYPE_CHECKING:
    from prefect_tune.checkpoint.checkpoint import Checkpoint

log = logging.getLogger(__name__)


class BestTrials(ComparedTrials):
    """Trials among which the best are found; see `ComparedTrials` for its arguments."""

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
        """The best checkpoint of the best trial, by the default metric; None if it has none."""
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
                f" and fulfils the constraints{_unknown(self.trials, conditions)}"
                if conditions
                else "",
            )
        return best

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """Configuration of the best trial; None if there is none.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
        """
        trial = self.get_best_trial(metric, mode, scope)
        return None if trial is None else trial.config

    def get_best_logdir(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> str | None:
        """Directory of the best trial; None if there is none.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
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

        See `prefect_tune.results.importance.importance` for how it is estimated.

        Args:
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.
            scope: As for `get_best_trial`.

        Returns:
            Parameter -> share from 0 to 1, largest first; empty with too few trials to tell.
        """
        metric, mode = self._metric_and_mode(metric, mode)
        scored = [(t, score_of(t, metric, mode, check_scope(scope))) for t in self.trials]
        known = [(trial.evaluated_params, value) for trial, value in scored if value is not None]
        return importance([params for params, _ in known], [value for _, value in known], mode)

    def get_trial_checkpoints_paths(
        self, trial: Trial | str | os.PathLike[str], metric: str | None = None
    ) -> list[tuple[str, float | None]]:
        """Path (or URL) of each kept checkpoint of a trial, with its value of a metric.

        Args:
            trial: The trial, its directory or its id.
            metric: None is the default metric, and `training_iteration` if there is none.

        Raises:
            InvalidArgument: If there is no such trial.
        """
        metric = metric or self.default_metric or BY_AGE
        found = self._trial(trial)
        root = self._root_of(found)
        return [(str(root / c.path), value_of(c, metric)) for c in found.checkpoints]

    def get_best_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str],
        metric: str | None = None,
        mode: str | None = None,
    ) -> Checkpoint | None:
        """The kept checkpoint of a trial with the best value of a metric.

        Args:
            trial: The trial, its directory or its id.
            metric: Name of the metric; None is the default metric.
            mode: ``min`` or ``max``; None is the default mode.

        Returns:
            The checkpoint; it can be used as a path. None (with a warning) if the trial has none.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
        """
        trial = self._trial(trial)
        metric, mode = self._metric_and_mode(metric, mode)
        found = best(trial.checkpoints, metric, mode)
        if found is None:
            log.warning("%s has no checkpoint with a value of the metric %r.", trial, metric)
        return None if found is None else open_checkpoint(found, self._root_of(trial))

    def get_last_checkpoint(
        self,
        trial: Trial | str | os.PathLike[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> Checkpoint | None:
        """The newest checkpoint of a trial, None if it has none.

        Args:
            trial: The trial, its directory or its id; None is the best trial.
            metric: Metric to find the best trial by; None is the default metric, and without one
                the trial that came furthest is taken.
            mode: ``min`` or ``max``; None is the default mode.

        Raises:
            InvalidArgument: If a metric is given without a mode, or there is no such trial.
        """
        if trial is None and metric is None and self.default_metric is None:
            metric, mode = BY_AGE, "max"
        chosen = self.get_best_trial(metric, mode) if trial is None else self._trial(trial)
        if chosen is None:
            return None
        found = newest(chosen)
        return None if found is None else open_checkpoint(found, self._root_of(chosen))


def _unknown(trials: Sequence[Trial], conditions: Sequence[Condition]) -> str:
    """Which names in conditions no trial has, and what was probably meant."""
    known = {name for trial in trials for name in row_of(trial)}
    words = []
    for name in dict.fromkeys(c.name for c in conditions if c.name not in known):
        meant = f"; is it config/{name}?" if f"config/{name}" in known else ""
        words.append(f" (no trial has {name!r}{meant})")
    return "".join(words)
