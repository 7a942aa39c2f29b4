"""Logs in the flow run that a trial is tried again, and why."""

from __future__ import annotations

from concurrent.futures import Future

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.orchestration.logs import RunLog
from prefect_tune.orchestration.record.run_texts import task_run_name

_MOST_LINES = 200
_LONGEST_REASON = 300


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
            self._say(launch, reason)
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

    def _say(self, launch: Launch, reason: str) -> None:
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
