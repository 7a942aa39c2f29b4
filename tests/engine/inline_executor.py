"""An executor that needs neither processes nor time, and experiments on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from copy import deepcopy
from pathlib import Path
from typing import Any

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    Event,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.execution.base import Emit, ExperimentEnv, TrialPlace
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.resources import Resources
from prefect_tune.settings import load_settings
from prefect_tune.trainable.runtime.result_codec import encode_result


def trainable(config: dict[str, Any]) -> None:
    """Never runs: the executor below makes the results up."""


class InlineExecutor:
    """Runs attempts in no time: results are events that are emitted as soon as they are asked for.

    Args:
        reports: How many results each attempt has.
        more: What each result has besides; if anything, its JSON text comes with it.

    Attributes:
        failing: Whether attempts fail behind their last result.
    """

    def __init__(self, reports: int = 3, more: dict[str, Any] | None = None) -> None:
        self._reports = reports
        self._more = more
        self.failing = False
        self._emit: Emit | None = None
        self._constants: dict[str, dict[str, Any]] = {}
        self.launched: list[Launch] = []
        self.killed: list[Kill] = []
        self.before_launch: Callable[[Launch], None] = lambda launch: None

    def open(self, env: ExperimentEnv, emit: Emit, *_: Any) -> None:
        self._emit = emit
        self._experiment_id = env.experiment_id
        emit(CapacityChanged(0.0, self.capacity()))

    def capacity(self) -> tuple[Node, ...]:
        return (Node("inline", Resources.of(CPU=2)),)

    def emit(self, event: Event) -> None:
        if self._emit is not None:
            self._emit(event)

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        self.before_launch(launch)
        self.launched.append(launch)
        self._constants[launch.trial_id] = {
            "trial_id": launch.trial_id,
            "experiment_id": self._experiment_id,
            "experiment_tag": place.experiment_tag,
            "config": launch.config,
        }
        self._report(launch.trial_id, launch.attempt, 1, launch.run_until)
        return Future()

    def _report(self, trial_id: str, attempt: int, seq: int, until: Any) -> None:
        while seq <= self._reports:
            reported = {"training_iteration": seq, "loss": 1.0 / seq, **deepcopy(self._more or {})}
            lines = () if self._more is None else (encode_result(reported),)
            result = {**reported, **self._constants[trial_id]}
            waits = until.reached(result)
            self.emit(ResultReported(1.0, trial_id, attempt, seq, (result,), waits, lines))
            if waits:
                return
            seq += 1
        outcome, error = Outcome.FINISHED, None
        if self.failing:
            outcome, error = Outcome.FAILED, AttemptError("ValueError", "bad luck")
        self.emit(AttemptEnded(2.0, trial_id, attempt, outcome, error))

    def decide(self, decisions: Sequence[Decide]) -> None:
        for d in decisions:
            if d.action is Action.STOP:
                self.emit(AttemptEnded(2.0, d.trial_id, d.attempt, Outcome.STOPPED))
            elif d.seq:
                self._report(d.trial_id, d.attempt, d.seq + 1, d.run_until)

    def kill(self, kills: Sequence[Kill]) -> None:
        self.killed += kills
        for k in kills:
            self.emit(AttemptEnded(3.0, k.trial_id, k.attempt, Outcome.STOPPED))

    def show_demand(self, waiting: Any) -> None:
        pass

    def dashboard(self) -> str | None:
        return None

    def close(self) -> None:
        self._emit = None


def experiment(
    tmp_path: Path,
    executor: InlineExecutor,
    tune: TuneConfig | None = None,
    *,
    space: dict[str, Any] | None = None,
    function: Any = trainable,
    resume: Any = None,
    resources: Any = None,
    verbose: int | None = 0,
    **run: Any,
) -> RunningExperiment:
    request = ExperimentRequest(
        function,
        space or {},
        tune or TuneConfig(num_samples=5),
        RunConfig(name="e", storage_path=str(tmp_path), verbose=verbose, **run),
        resources_per_trial=resources,
        resume=resume,
    )
    result = RunningExperiment(make_setup(request, load_settings()), executor)
    result.open()
    return result


def run(one: RunningExperiment) -> None:
    one.run(DirectLauncher(one.executor))
