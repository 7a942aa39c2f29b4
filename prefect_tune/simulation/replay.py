"""Replays a finished experiment under another scheduler or stopper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.results import ExperimentAnalysis, ResultGrid
from prefect_tune.results.frames import trial_results
from prefect_tune.search.source import FINISHED, Finished, Suggestion
from prefect_tune.simulation.attempt import Step
from prefect_tune.simulation.cluster import SimulatedCluster
from prefect_tune.simulation.models import own_metrics
from prefect_tune.simulation.run import SimulatedAnalysis, setup_simulation, simulate_setup


@dataclass(frozen=True)
class Replay:
    """Estimated outcome of an experiment under another scheduler or stopper.

    Attributes:
        stopped: Trials that would have ended earlier, each with its step.
        steps: Number of results in the experiment.
        steps_saved: Number of results that would have been saved.
        hours: Hours that trials have run.
        hours_saved: Hours that would have been saved.
        best_trial: Id of the best trial of the experiment.
        best_lost: True if that trial would have been stopped before its best value.
        best_value: The best value in the experiment.
        best_value_left: The best value in the replay.
        analysis: The trials of the replay.
    """

    stopped: Mapping[str, int]
    steps: int
    steps_saved: int
    hours: float
    hours_saved: float
    best_trial: str
    best_lost: bool
    best_value: float
    best_value_left: float
    analysis: SimulatedAnalysis

    def __str__(self) -> str:
        share = self.steps_saved / self.steps if self.steps else 0.0
        fate = "lost" if self.best_lost else "kept"
        return (
            f"{len(self.stopped)} of {len(self.analysis.trials)} trials would have been stopped: "
            f"{self.steps_saved} of {self.steps} results saved ({share:.0%}), "
            f"{self.hours_saved:.3g} of {self.hours:.3g} trial hours. The best trial, "
            f"{self.best_trial}, would have been {fate}: best value {self.best_value:.6g}, "
            f"{self.best_value_left:.6g} left."
        )


def replay(
    results: Any,
    scheduler: Any = None,
    *,
    stop: Any = None,
    metric: str | None = None,
    mode: str | None = None,
) -> Replay:
    """Estimate what a scheduler or stopper would have saved in a finished experiment, and lost.

    Trials start in the recorded order, with as many at a time; each reports its recorded results
    until it is stopped. A trial cannot go on beyond its last recorded result.

    Args:
        results: A finished experiment: `ResultGrid`, `ExperimentAnalysis` or its directory.
        scheduler: A `TrialScheduler` or its name.
        stop: Stopping criteria, as those of `run`.
        metric: The metric; None is the experiment's.
        mode: ``min`` or ``max``; None is the experiment's.

    Raises:
        InvalidArgument: If there are no results, no metric, or nothing that could stop a trial.
    """
    analysis = results.analysis if isinstance(results, ResultGrid) else results
    if not isinstance(analysis, ExperimentAnalysis):
        analysis = ExperimentAnalysis(analysis)
    if scheduler is None and stop is None:
        raise InvalidArgument("scheduler", "it is missing.", "Give a scheduler, or `stop`.")
    metric = metric or analysis.default_metric or getattr(scheduler, "metric", None)
    mode = mode or analysis.default_mode or getattr(scheduler, "metric_mode", None)
    if metric is None or mode not in ("min", "max"):
        raise InvalidArgument("metric", "metric or mode is not known.", "Give both.")
    histories = _histories(analysis)
    if not histories:
        raise InvalidArgument(
            "results", "no trial has results on disk.", "Give an experiment with result files."
        )
    trials = [trial for trial in analysis.trials if trial.trial_id in histories]
    known = getattr(scheduler, "metric", None) is not None
    request = ExperimentRequest(
        trainable=_stand_in,
        tune_config=TuneConfig(
            metric=None if known else metric, mode=None if known else mode, scheduler=scheduler
        ),
        run_config=RunConfig(stop=stop),
        resources_per_trial={"cpu": 1},
    )
    setup, _ = setup_simulation(request)
    source = _Recorded(trials)

    def play(config: dict[str, Any]) -> Iterator[Step]:
        for row in histories[source.trial_ids[id(config)]]:
            yield Step(own_metrics(row), _seconds(row))

    slots = SimulatedCluster(cpus=_most_at_once(trials, histories))
    again = simulate_setup(replace(setup, source=source), play, slots)
    return _compared(trials, histories, again, metric, mode)


def _stand_in(config: dict[str, Any]) -> None:
    """Placeholder for the trainable of a replay; never called."""


class _Recorded:
    """Search that suggests the trials of an experiment in their order."""

    lookahead = 1
    wants_results = False

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = iter(trials)
        self._count = len(trials)
        #: Trial id by the `id()` of the trial's configuration.
        self.trial_ids: dict[int, str] = {}
        self._kept: list[dict[str, Any]] = []

    def next(self) -> Suggestion | Literal[Finished.FINISHED] | None:
        trial = next(self._trials, None)
        if trial is None:
            return FINISHED
        config = dict(trial.config)
        self.trial_ids[id(config)] = trial.trial_id
        self._kept.append(config)  # else another one may get its identity
        return Suggestion(
            trial.trial_id, config, trial.evaluated_params, len(self._kept), trial.experiment_tag
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the suggestions are fixed."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the suggestions are fixed."""

    def total(self) -> int | None:
        return self._count

    def adjust(self, samples: int, max_concurrent: int | None) -> None:
        """Do nothing: the number of trials is fixed."""

    def save_state(self) -> bytes:
        return b""

    def restore_state(self, state: bytes) -> None:
        """Do nothing: a replay is not resumed."""


def _histories(analysis: ExperimentAnalysis) -> dict[str, list[dict[str, Any]]]:
    """Return the results of each trial that has any, with the last report of each iteration."""
    kept = analysis.histories if isinstance(analysis, SimulatedAnalysis) else {}
    found: dict[str, list[dict[str, Any]]] = {}
    for trial in analysis.trials:
        rows = kept.get(trial.trial_id) or trial_results(trial)
        once = {row.get("training_iteration", number): row for number, row in enumerate(rows)}
        if once:
            found[trial.trial_id] = list(once.values())
    return found


def _seconds(row: Mapping[str, Any]) -> float:
    return max(0.0, float(finite_number(row.get("time_this_iter_s")) or 0.0))


def _most_at_once(
    trials: Sequence[Trial], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> int:
    """Return the greatest number of trials that have run at the same time."""
    changes: list[tuple[float, int]] = []
    for trial in trials:
        if trial.start_time is not None:
            seconds = sum(map(_seconds, histories[trial.trial_id]))
            changes += [(trial.start_time, 1), (trial.start_time + seconds, -1)]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most or len(trials)


def _compared(
    trials: Sequence[Trial],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    again: SimulatedAnalysis,
    metric: str,
    mode: str,
) -> Replay:
    sign = 1.0 if mode == "max" else -1.0

    def scores(rows: Sequence[Mapping[str, Any]]) -> list[float]:
        found = (finite_number(flatten(dict(row)).get(metric)) for row in rows)
        return [-float("inf") if value is None else sign * value for value in found]

    stopped: dict[str, int] = {}
    steps = saved = 0
    hours = hours_saved = 0.0
    best = left = -float("inf")
    best_trial, best_lost = trials[0].trial_id, False
    for trial in trials:
        rows = histories[trial.trial_id]
        came = len({r["training_iteration"] for r in again.histories.get(trial.trial_id, ())})
        steps += len(rows)
        saved += len(rows) - came
        hours += sum(map(_seconds, rows)) / 3600
        hours_saved += sum(map(_seconds, rows[came:])) / 3600
        if came < len(rows):
            stopped[trial.trial_id] = came
        reached = scores(rows)
        left = max([left, *reached[:came]])
        if max(reached) > best:
            best, best_trial = max(reached), trial.trial_id
            best_lost = came <= reached.index(best)
    return Replay(
        stopped,
        steps,
        saved,
        hours,
        hours_saved,
        best_trial,
        best_lost,
        sign * best,
        sign * left,
        again,
    )
