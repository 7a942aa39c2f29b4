"""Runs an experiment as a flow run, and records its progress there."""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from prefect.events import Event
from prefect.utilities.urls import url_for

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten
from prefect_tune.orchestration.control.crashed_runs import take_over_experiment
from prefect_tune.orchestration.control.current_flow import (
    FlowIdentity,
    current_flow_identity,
    tag_limits,
)
from prefect_tune.orchestration.control.flow_watch import FlowWatch, SuspensionWatch
from prefect_tune.orchestration.control.sweep_events import Heartbeat
from prefect_tune.orchestration.logs import run_log
from prefect_tune.orchestration.prefect_internals import as_prefects_handler
from prefect_tune.orchestration.record.artifacts import ArtifactReporter, Snapshot
from prefect_tune.orchestration.record.conclusion import (
    Conclusion,
    Ending,
    FlowOutcome,
    FlowRunDescription,
    conclusion_of,
)
from prefect_tune.orchestration.record.early_start import EarlyStart
from prefect_tune.orchestration.record.flow import run_in_flow
from prefect_tune.orchestration.record.launcher import PrefectLauncher
from prefect_tune.orchestration.record.summary import pictures, summary, trial_page
from prefect_tune.orchestration.record.sweep_news import SweepNews
from prefect_tune.orchestration.record.sweep_result import SweepResult, sweep_result
from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.orchestration.record.texts import flow_name, show_value
from prefect_tune.orchestration.server.api import start_server_early
from prefect_tune.reporters.columns import as_cell, parameter_columns, user_metrics
from prefect_tune.reporters.progress import SweepProgress

_logger = logging.getLogger("prefect_tune")

_LEADERS = 20
_COLUMNS = 8


def run_experiment_in_flow(
    experiment: RunningExperiment, early: EarlyStart | None = None
) -> FlowOutcome:
    """Run an opened experiment to its end, recorded in Prefect.

    Args:
        experiment: The experiment.
        early: What runs the experiment already, in another thread; None to run it here.

    Returns:
        Id of the flow run and its page in the UI.

    Raises:
        PrefectUnavailable: If the API does not answer.
        Exception: The error that has ended the experiment early.
    """
    setup = experiment.setup
    api = start_server_early()
    suspension: SuspensionWatch | None = None
    flow_watch = FlowWatch(lambda why, late: experiment.interrupt(why, out_of_time=late))
    if early is None:
        earlier, begun = list(experiment.trials), time.monotonic()
        logs = TaskRunLogs(keeps_output=setup.keeps_output_in_prefect)
        experiment.output.listen(logs.put)
    else:
        earlier, begun, logs = early.earlier, early.begun, early.logs
        api.wait_ready(
            lambda line: _logger.warning(
                "%s %s",
                line,
                "Trials run meanwhile."
                if early.ended is None
                else "The sweep has ended, and is recorded as soon as the server answers.",
            )
        )

    def interrupted_by() -> str | None:
        """Return why the sweep was interrupted; None if it was not."""
        reason = experiment.interruption.reason
        if reason is None and suspension is not None and suspension.suspended:
            return "suspended"
        return reason

    def body(launcher: PrefectLauncher) -> Conclusion:
        nonlocal suspension
        flow = current_flow_identity()
        if flow is not None:
            take_over_experiment(experiment.directory, UUID(flow.flow_run_id), setup.name)
        _apply_tag_limits(experiment)
        record = _SweepRecorder(experiment, flow, earlier, begun)
        heartbeat = Heartbeat(flow, setup.settings.heartbeat_s)
        suspension = SuspensionWatch(experiment.inbox, heartbeat.end)
        ending = Conclusion(Ending.INTERRUPTED, "ended by force")
        try:
            with heartbeat, ArtifactReporter(setup.name) as artifacts:
                try:
                    listeners = [record.listener(artifacts), suspension]
                    if early is None:
                        experiment.run(launcher, [*listeners, flow_watch], as_prefects_handler)
                    else:
                        early.follow(launcher, listeners)
                finally:
                    final = record.final(experiment.trials, launcher)
                    # Whoever has interrupted the sweep waits for its end.
                    draw = record.draw if interrupted_by() is None else None
                    artifacts.conclude(*final, draw)
            ending = record.conclusion(experiment.trials, interrupted_by())
        except Exception as error:
            ending = conclusion_of(error)
            raise
        finally:
            record.end(ending, heartbeat.end(), None if early is None else early.ended)
        return ending

    flow = FlowRunDescription(
        name=flow_name(setup.trainable.name),
        run_name=setup.name,
        tags=(f"experiment:{setup.name}", f"trainable:{setup.trainable.name}"),
        parameters=describe(setup),
        executor=experiment.executor,
        ship=getattr(experiment.executor, "submit_body", None),
        max_task_runs=setup.settings.max_task_runs,
        is_interrupted=lambda: interrupted_by() is not None,
        logs=logs,
    )
    with flow_watch.guarding():
        return run_in_flow(body, flow, api)


def _apply_tag_limits(experiment: RunningExperiment) -> None:
    """Limit the number of running trials by the concurrency limits of the sweep's tags."""
    for smallest in tag_limits()[:1]:
        experiment.coordinator.limit_running(smallest.limit)
        run_log().info(
            "At most %d trials run at a time: the tag %r has that concurrency limit.",
            smallest.limit,
            smallest.tag,
        )


def describe(setup: ExperimentSetup) -> dict[str, Any]:
    """Return the flow run's parameters for the UI: texts and numbers only."""
    tune = setup.tune
    return {
        "trainable": f"{setup.trainable.module}:{setup.trainable.name}",
        "metric": setup.metric,
        "mode": setup.mode,
        "num_samples": tune.num_samples,
        "search": "random and grid" if tune.search_alg is None else _class_name(tune.search_alg),
        "scheduler": _class_name(setup.scheduler),
        "resources_per_trial": str(setup.resources or "by configuration"),
        "max_concurrent_trials": tune.max_concurrent_trials,
        "max_failures": setup.failure.max_failures,
        "seed": tune.seed,
        "storage": f"{setup.root}/{setup.name}",
    }


class _SweepRecorder:
    """Makes the artifacts, news and final state of the flow run from the trials.

    Made when the sweep begins in the flow run, which it tells.

    Args:
        experiment: The experiment.
        flow: The flow run.
        earlier: The trials that a resumed experiment has already.
        begun: When the sweep has begun, on the monotonic clock.
    """

    def __init__(
        self,
        experiment: RunningExperiment,
        flow: FlowIdentity | None,
        earlier: list[Trial],
        begun: float,
    ) -> None:
        self._experiment = experiment
        self._setup = setup = experiment.setup
        self._progress = SweepProgress(setup.metric, setup.mode, setup.source.total())
        self._flow_run_id = "" if flow is None else flow.flow_run_id
        self._news = SweepNews(flow, run_log(), self._progress, self.result, begun)
        experiment.on_control = self._news.controlled
        described = describe(self._setup)
        how_many = "as many trials as it takes"
        if self._progress.total is not None:
            how_many = f"{self._progress.total} trials"
        self._news.started(
            f"{how_many} of {described['trainable']}, search {described['search']}, scheduler "
            f"{described['scheduler']}",
            earlier,
        )

    def end(self, conclusion: Conclusion, last_beat: Event | None, ended: float | None) -> None:
        """Report that the sweep has ended, at a monotonic time or now."""
        self._news.report(self._experiment.trials, at_once=True)
        self._news.ended(conclusion, last_beat, ended)

    def result(self) -> SweepResult:
        """Return the current result."""
        return sweep_result(self._experiment, self._progress, self._flow_run_id)

    def listener(self, artifacts: ArtifactReporter) -> Any:
        """Return a listener for the engine, which returns at once unless an update is due."""

        def update(coordinator: Coordinator) -> None:
            self._news.report(coordinator.get_trials())
            if artifacts.due:
                artifacts.update(self.snapshot(coordinator.get_trials()))

        return update

    def snapshot(self, trials: list[Trial]) -> Snapshot:
        """Return the state of the experiment for the artifacts."""
        progress = self._progress
        progress.set_total(self._setup.source.total())
        progress.update(trials)
        leaders = self._leaders(trials)
        parameters = dict(list(parameter_columns(leaders).items())[:_COLUMNS])
        metrics = user_metrics(leaders, limit=_COLUMNS)
        if progress.metric in metrics:
            metrics.remove(progress.metric)
        if progress.metric is not None:
            metrics.insert(0, progress.metric)
        return Snapshot(
            done=len(progress.finished),
            total=progress.total,
            counts=progress.counts(),
            rows=[self._row(trial, parameters, metrics) for trial in leaders],
        )

    def final(
        self, trials: list[Trial], launcher: PrefectLauncher
    ) -> tuple[Snapshot, str, dict[UUID, str]]:
        """Return the last snapshot, the summary, and pages of the best trials by task run."""
        snapshot, progress, task_runs = self.snapshot(trials), self._progress, launcher.task_runs
        leaders = [trial for trial in self._leaders(trials) if trial.trial_id in task_runs]
        place = f"{self._setup.root}/{self._setup.name}"
        text = summary(
            self._setup.name,
            str(snapshot),
            progress.best,
            progress.metric,
            trials,
            place,
            [(t, url_for("task-run", obj_id=task_runs[t.trial_id])) for t in leaders],
        )
        pages = {}
        for trial in leaders:
            end = launcher.ends.get(task_runs[trial.trial_id])
            how = "" if end is None else ": ".join(filter(None, (end.name, end.message)))
            pages[task_runs[trial.trial_id]] = trial_page(trial, progress.metric, place, how)
        return snapshot, text, pages

    def draw(self) -> str:
        """Draw the experiment; return markdown."""
        return pictures(self._experiment.trials, self._progress.metric, self._progress.mode)

    def _leaders(self, trials: list[Trial]) -> list[Trial]:
        return self._progress.ranked([trial for trial in trials if trial.last_result])[:_LEADERS]

    def conclusion(self, trials: list[Trial], interrupted_by: str | None) -> Conclusion:
        """Return the content of the flow run's final state."""
        self._progress.update(trials)
        result = self.result()
        message, best = f"{self.snapshot(trials)}", self._progress.best
        if best is not None:
            config = ", ".join(
                f"{name}={as_cell(value) if isinstance(value, float) else show_value(value)}"
                for name, value in best.trial.evaluated_params.items()
            )
            found = f"best {self._progress.metric}={best.value:.6g} with {config or '{}'}"
            # A request or a limit has ended the sweep, or a trial has been left behind.
            unfinished = len(self._progress.finished) < (self._progress.total or 0)
            message = f"{message}; {found}" if unfinished else found
        if interrupted_by is not None:
            return Conclusion(Ending.INTERRUPTED, f"{interrupted_by}; {message}", result)
        if result.failed:
            errors = (trial.error for trial in trials if trial.status == ERROR)
            share = result.failed / result.trials
            failures = f"{result.failed} of {result.trials} trials failed"
            if share == 1 or share > self._setup.settings.failed_share:
                how_many = f"all {result.failed} trials failed" if share == 1 else failures
                return Conclusion(Ending.FAILED, f"{how_many}: {next(errors)}", result)
            message = f"{failures}; {message}"
        return Conclusion(Ending.COMPLETED, message, result)

    @staticmethod
    def _row(trial: Trial, parameters: dict[str, str], metrics: list[str]) -> dict[str, Any]:
        flat = flatten(trial.last_result)
        row: dict[str, Any] = {"trial": str(trial), "status": trial.status}
        row |= {name: flat.get(name) for name in metrics}
        row |= {head: trial.evaluated_params.get(name) for name, head in parameters.items()}
        row["iterations"] = flat.get("training_iteration")
        row["seconds"] = round(finite_number(flat.get("time_total_s")) or 0.0, 2)
        return row


def _class_name(thing: Any) -> str:
    return thing if isinstance(thing, str) else type(thing).__name__
