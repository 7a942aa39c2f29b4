"""`ResultGrid`: the results of all trials, as `Tuner.fit` returns them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.results.journal_summary import Copy
from prefect_tune.results.result import Result, trial_error

if TYPE_CHECKING:
    import pandas as pd

    from prefect_tune.results.plots.picture import Plot
    from prefect_tune.simulation.replay import Replay


class ResultGrid:
    """The results of all trials, in order of creation; a sequence of `Result`.

    Args:
        experiment_analysis: The experiment.
    """

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._experiment_analysis = experiment_analysis

    def __len__(self) -> int:
        return len(self._experiment_analysis.trials)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        analysis = self._experiment_analysis
        if isinstance(index, slice):
            return [analysis.result_of(trial) for trial in analysis.trials[index]]
        return analysis.result_of(analysis.trials[index])

    def __iter__(self) -> Iterator[Result]:
        return map(self._experiment_analysis.result_of, self._experiment_analysis.trials)

    def __repr__(self) -> str:
        return f"<ResultGrid of {len(self)} trials in {self.experiment_path}>"

    @property
    def analysis(self) -> ExperimentAnalysis:
        """The experiment as an `ExperimentAnalysis`, which `tune.run` returns."""
        return self._experiment_analysis

    @property
    def experiment_path(self) -> str:
        """The experiment directory."""
        return self._experiment_analysis.experiment_path

    @property
    def filesystem(self) -> Any:
        """The fsspec file system on which `experiment_path` lies."""
        return self._experiment_analysis.filesystem

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions of the trials that failed."""
        errors = (trial_error(trial) for trial in self._experiment_analysis.trials)
        return [error for error in errors if error is not None]

    @property
    def num_errors(self) -> int:
        """Number of trials that failed."""
        return sum(trial.status == ERROR for trial in self._experiment_analysis.trials)

    @property
    def num_terminated(self) -> int:
        """Number of trials that ended without an error."""
        return sum(trial.status == TERMINATED for trial in self._experiment_analysis.trials)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> Result:
        """Return the result of the trial with the best value of a metric.

        With a single trial and no constraints, its result is returned and no metric is needed.

        Args:
            metric: Name of the metric, nested ones with ``/``; None is that of the `TuneConfig`.
            mode: ``min`` or ``max``; None is that of the `TuneConfig`.
            scope: ``last``: compare last values; ``avg``: means over all results; ``last-5-avg``,
                ``last-10-avg``: means over the last ones; ``all``: best values of all results.
            filter_nan_and_inf: False lets an infinite value be the best; NaN never is.
            constraints: Conditions on last results and configurations, such as
                ``"latency <= 20"`` or ``"config/lr < 0.1"``; trials that miss one do not count.

        Raises:
            InvalidArgument: If metric or mode is missing, or an argument has another value.
            RuntimeError: If no trial has a value of the metric.
        """
        analysis = self._experiment_analysis
        if len(analysis.trials) == 1 and constraints is None:
            return self[0]
        trial = analysis.get_best_trial(
            metric, mode, scope, filter_nan_and_inf, constraints=constraints
        )
        if trial is None:
            name = metric or analysis.default_metric
            also = "" if constraints is None else " and fulfils the constraints"
            raise RuntimeError(
                f"No best trial found: no trial has a value of the metric {name!r}{also}. "
                "Was it reported, and did the trials run long enough? See `errors`."
            )
        return analysis.result_of(trial)

    def pareto(
        self,
        metric: str | Sequence[str] | Mapping[str, str] | None = None,
        mode: str | Sequence[str] | None = None,
        scope: str = "last",
        *,
        constraints: str | Iterable[str] | None = None,
    ) -> list[Result]:
        """Return the Pareto set: the results that no other result beats in all of several metrics.

        Args:
            metric: Names of metrics, or a dict of names and modes; None takes the experiment's.
            mode: One mode for all metrics, or one for each; None takes the experiment's.
            scope: As for `get_best_result`.
            constraints: As for `get_best_result`.

        Returns:
            The results, best of the first metric first.

        Raises:
            InvalidArgument: If metrics or modes are missing, or an argument has another value.
        """
        front = self._experiment_analysis.get_pareto_trials(
            metric, mode, scope, constraints=constraints
        )
        return [self._experiment_analysis.result_of(trial) for trial in front]

    def lineage(self, trial: Result | Trial | str) -> list[Copy]:
        """Return the copies of checkpoints that a trial descends from, oldest first.

        Args:
            trial: A result, a trial that population based training was used with, or its id.
        """
        if isinstance(trial, Result):
            trial = str(trial.metrics["trial_id"])
        return self._experiment_analysis.lineage(trial)

    def plot(
        self,
        kind: str = "curves",
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        *,
        parameters: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Plot:
        """Draw a picture of the experiment; `ExperimentAnalysis.plot` describes the kinds.

        Args:
            kind: ``curves``, ``slices``, ``parallel``, ``importance``, ``contours``, ``pareto``,
                ``lineage`` or ``overview``.
            metric: Metric, two of them for ``pareto``; None is the experiment's.
            mode: ``min`` or ``max``; None is the experiment's.
            parameters: Parameters to show, flat (``net/units``); None is all that were searched,
                or of very many those that matter most.
            path: File to save the picture to: ``.png``, ``.svg``, ``.pdf`` or ``.html``.

        Raises:
            InvalidArgument: If an argument has another value.
            TuneError: If there is nothing to draw.
            ImportError: If matplotlib is not installed; says what to install.
        """
        return self._experiment_analysis.plot(kind, metric, mode, parameters=parameters, path=path)

    def replay(
        self,
        scheduler: Any = None,
        *,
        stop: Any = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> Replay:
        """Estimate what a scheduler or stopper would have saved in this experiment, and cost.

        `prefect_tune.replay` describes the method and the arguments.

        Args:
            scheduler: A `TrialScheduler` or its name.
            stop: Stopping criteria, as those of `run`.
            metric: The metric; None is the experiment's.
            mode: ``min`` or ``max``; None is the experiment's.

        Raises:
            InvalidArgument: If there are no results, no metric, or nothing that could stop a trial.
        """
        import prefect_tune as tune

        return tune.replay(self, scheduler, stop=stop, metric=metric, mode=mode)

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pd.DataFrame:
        """Return a data frame with one row per trial that reported a result.

        Args:
            filter_metric: Take each trial's result with the best value of this metric. Without it,
                and for a trial that never reported it, the last result is taken.
            filter_mode: ``min`` or ``max``; without one, the last result is taken.

        Raises:
            InvalidArgument: If there is a mode but no metric, or the mode has another value.
            ImportError: If pandas is not installed.
        """
        return self._experiment_analysis.dataframe(filter_metric, filter_mode)
