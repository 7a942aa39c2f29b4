"""`PrefectLauncher`: launches attempts and records them as task runs and in the flow run's log."""

from __future__ import annotations

import contextvars
import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.settings import get_current_settings
from prefect.transactions import BaseTransaction

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.execution.base import Executor, TrialPlace
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.orchestration.control.current_flow import forget_tags
from prefect_tune.orchestration.control.flow_watch import hide_suspension
from prefect_tune.orchestration.logs import RunLog, run_log
from prefect_tune.orchestration.prefect_internals import set_context
from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.orchestration.record.task_runner import BodyTaskRunner
from prefect_tune.orchestration.record.texts import (
    new_task_run_id,
    task_run_name,
    task_run_text,
)
from prefect_tune.orchestration.record.trial_context import TrialContext
from prefect_tune.orchestration.record.trial_task import Attempt, trial_task

_MOST_LINES = 200
_LONGEST_REASON = 300
_logger = logging.getLogger("prefect_tune")


class RetryLog:
    """Logs a warning for each attempt that follows a failed or lost one.

    Args:
        log: The logger.
    """

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._failures: dict[str, str] = {}
        self._lines = 0

    def follow(self, launch: Launch, ended: Future[AttemptEnded]) -> None:
        """Follow an attempt that has been launched.

        Args:
            launch: The attempt.
            ended: Resolves when the attempt has ended.
        """
        reason = self._failures.pop(launch.trial_id, None)
        if reason is not None:
            self._log_retry(launch, reason)
        ended.add_done_callback(self._remember_failure)

    def _remember_failure(self, ended: Future[AttemptEnded]) -> None:
        if ended.cancelled() or ended.exception() is not None:
            return
        event = ended.result()
        if event.outcome not in (Outcome.FAILED, Outcome.LOST):
            return
        how = "failed" if event.outcome is Outcome.FAILED else "was lost"
        why = f": {event.error}" if event.error is not None else ""
        self._failures[event.trial_id] = f"{how}{why}"[:_LONGEST_REASON]

    def _log_retry(self, launch: Launch, reason: str) -> None:
        self._lines += 1
        if self._lines <= _MOST_LINES:
            self._log.warning(
                "Attempt %d of %s %s. It is tried again: %s.",
                launch.attempt - 1,
                launch.name,
                reason.rstrip("."),
                task_run_name(launch),
            )
        elif self._lines == _MOST_LINES + 1:
            self._log.warning("Further attempts that follow a failure are not logged.")


class PrefectLauncher:
    """Launches attempts, each of which becomes a task run of the surrounding coordinator task.

    To be made inside the coordinator task. The attempt starts first and its task run follows it, so
    that a slow or dead Prefect delays no trial.

    Args:
        executor: Runs the attempts.
        runner: Runs the task engines; a started one, which this launcher finishes.
        max_task_runs: How many attempts are recorded; Prefect's graphs end at 10,000 nodes and
            get hard to read long before.
        is_interrupted: Returns True once the sweep is being ended, to be resumed later.
        logs: Brings what attempts log to the logs of their task runs.

    Attributes:
        flow_run_text: The flow run as JSON, for trials.
        recorded: Number of task runs.
        task_runs: The newest task run of each trial.
        ends: Final states by task run.
    """

    def __init__(
        self,
        executor: Executor,
        runner: BodyTaskRunner,
        max_task_runs: int,
        is_interrupted: Callable[[], bool] = lambda: False,
        logs: TaskRunLogs | None = None,
    ) -> None:
        self._executor = executor
        self._is_interrupted = is_interrupted
        self._logs = logs = TaskRunLogs() if logs is None else logs
        self._runner = runner
        self._max_task_runs = max_task_runs
        self._context = contextvars.copy_context()
        # The coordinator's transaction would keep every trial's engine alive until its end, for a
        # rollback that trials do not have.
        set_context(self._context, BaseTransaction, None)
        hide_suspension(self._context)
        forget_tags(self._context)
        self._retries = RetryLog(run_log())
        flow = FlowRunContext.get()
        self._flow_run = None if flow is None else flow.flow_run
        self.flow_run_text = ""
        self._flow_name = "" if flow is None or flow.flow is None else flow.flow.name
        if self._flow_run is not None:
            self.flow_run_text = self._flow_run.model_dump_json(
                exclude={"state", "estimated_run_time", "estimated_start_time_delta"}
            )
            logs.follow_flow()
        self._api_url = get_current_settings().api.url or ""
        self._recording = max_task_runs > 0
        self._running: dict[AttemptKey, Attempt] = {}
        self.recorded = 0
        self.task_runs: dict[str, UUID] = {}
        self.ends: dict[UUID, State[Any]] = {}

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt, and then its task run."""
        task_run_id = None
        if self._recording and self.recorded < self._max_task_runs:
            task_run_id = new_task_run_id()
            self._logs.expect(launch.key)
        around = self._surroundings(launch, task_run_id)
        ended = self._executor.launch(launch, replace(place, surroundings=around))
        self._retries.follow(launch, ended)
        if not self._recording:
            return
        if self.recorded >= self._max_task_runs:
            self._recording = False
            _logger.info(
                "%d task runs are shown; further trials appear in the leaderboard artifact only "
                "(PREFECT_TUNE_MAX_TASK_RUNS sets how many).",
                self.recorded,
            )
            return
        self._record(launch, place, ended, task_run_id)

    def adopt(
        self,
        launch: Launch,
        place: TrialPlace,
        ended: Future[AttemptEnded],
        task_run_id: UUID,
        kill: Kill | Decide | None,
    ) -> None:
        """Record an attempt that was started before this launcher was made.

        Args:
            launch: The attempt.
            place: Names and directory of its trial.
            ended: Resolves when the attempt has ended.
            task_run_id: Id of its task run.
            kill: The command that has ended it, if one has.
        """
        self._retries.follow(launch, ended)
        if self._recording:
            self._record(launch, place, ended, task_run_id, kill)

    def note_end(self, command: Kill | Decide) -> None:
        """Note why an attempt was ended, for the state of its task run."""
        attempt = self._running.get(command.key)
        if attempt is not None and (attempt.kill is None or isinstance(command, Kill)):
            attempt.kill = command

    def close(self, timeout: float) -> None:
        """Wait until the task runs of attempts that have ended are final too."""
        started = time.monotonic()
        if not self._runner.finish(timeout):
            _logger.warning(
                "Some task runs are not final after %.1f s; they may be shown as running.",
                time.monotonic() - started,
            )

    def _surroundings(self, launch: Launch, task_run_id: UUID | None) -> TrialContext | None:
        """Return the contexts that Prefect's functions find in the attempt's process."""
        if self._flow_run is None:
            return None
        task_run = "" if task_run_id is None else task_run_text(launch, task_run_id)
        return TrialContext(self._flow_name, self.flow_run_text, task_run, self._api_url)

    def _record(
        self,
        launch: Launch,
        place: TrialPlace,
        ended: Future[AttemptEnded],
        task_run_id: UUID | None,
        kill: Kill | Decide | None = None,
    ) -> None:
        key = launch.key
        tag = place.experiment_tag
        attempt = Attempt(key, ended, tag, self._is_interrupted, self._logs, kill)
        self._running[key] = attempt
        ended.add_done_callback(lambda _: self._running.pop(key, None))
        parameters = {"name": task_run_name(launch), "attempt": attempt}
        try:
            run = self._runner.submit_here(trial_task, parameters, self._context, task_run_id)
        except Exception:
            self._recording = False
            _logger.warning(
                "Prefect does not take further task runs; the sweep goes on without.", exc_info=True
            )
            return
        run.wrapped_future.add_done_callback(functools.partial(self._remember, run.task_run_id))
        self.recorded += 1
        self.task_runs[launch.trial_id] = run.task_run_id

    def _remember(self, task_run_id: UUID, run: Future[State[Any]]) -> None:
        end = run.result()
        # Only these fields, because there are thousands of states.
        self.ends[task_run_id] = State(type=end.type, name=end.name, message=end.message)
