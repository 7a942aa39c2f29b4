"""Shows an attempt as a Prefect task run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from prefect_tune.coordinator.commands import Decide, Kill
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.orchestration.record.task_run_logs import TRIAL, TaskRunLog, TaskRunLogs
from prefect_tune.orchestration.record.texts import LONGEST_MESSAGE, showable


class Attempt:
    """Launched attempt, as the argument of its task run.

    It is no collection or dataclass, because Prefect would visit the members.

    Args:
        key: The attempt.
        ended: Resolves when the attempt has ended.
        tag: The trial's experiment tag, e.g. ``3_lr=0.1``.
        is_interrupted: Returns True once the sweep is being ended, to be resumed later.
        logs: Brings what the attempt logs to the log of its task run; None for nothing.
        kill: The command that ends the attempt, if one does; may be set later.
    """

    def __init__(
        self,
        key: AttemptKey,
        ended: Future[AttemptEnded],
        tag: str,
        is_interrupted: Callable[[], bool],
        logs: TaskRunLogs | None,
        kill: Kill | Decide | None,
    ) -> None:
        self.ended = ended
        self.tag = tag
        self.is_interrupted = is_interrupted
        self.logs = logs
        self.key = key
        self.kill = kill

    async def wait(self) -> AttemptEnded:
        """Wait for the attempt's end; called in its task run."""
        if self.logs is None:
            return await asyncio.wrap_future(self.ended)
        self.logs.attach(self.key)
        try:
            return await asyncio.wrap_future(self.ended)
        finally:
            self.logs.detach(self.key)


@task(
    name=TRIAL,
    task_run_name="{name}",
    persist_result=False,
    cache_policy=NO_CACHE,
    log_prints=False,
)
async def trial_task(name: str, attempt: Attempt) -> State[None]:
    """Wait for the end of an attempt, and return its final state."""
    try:
        ended = await attempt.wait()
    except Exception as error:
        return Crashed(message=f"the attempt could not be followed: {error!r}")
    state = attempt_state(ended, attempt.tag, attempt.is_interrupted(), attempt.kill)
    if not state.is_completed():
        # The page of a task run in the UI shows its log, but not the message of its state.
        TaskRunLog()(f"{state.name}: {state.message}", logging.ERROR)
    return state


def attempt_state(
    ended: AttemptEnded, tag: str, interrupted: bool = False, kill: Kill | Decide | None = None
) -> State[None]:
    """Return the final state of an attempt's task run.

    Args:
        ended: How the attempt ended.
        tag: The trial's experiment tag, shown with attempts that did not fail.
        interrupted: True if the sweep is being ended, to be resumed later.
        kill: The command that has ended the attempt, if one has.
    """
    outcome, tag = ended.outcome, showable(tag)
    as_it_is = interrupted or outcome in (Outcome.FINISHED, Outcome.UNSTARTED)
    if isinstance(kill, Kill) and kill.counts_as and not as_it_is:
        if kill.counts_as is Outcome.FAILED:
            return Failed(name="TimedOut", message=kill.reason)
        outcome = kill.counts_as
    match outcome:
        case Outcome.FINISHED:
            return Completed(message=tag or None)
        case Outcome.STOPPED if interrupted:
            return Completed(name="Interrupted", message=f"goes on with the sweep; {tag}")
        case Outcome.STOPPED:
            why = "" if kill is None else kill.reason
            why = why or "ended by the scheduler or a stopping criterion"
            return Completed(name="Stopped", message=f"{why}; {tag}".rstrip("; "))
        case Outcome.PAUSED:
            return Completed(name="Paused", message=f"goes on in another attempt; {tag}")
        case Outcome.UNSTARTED:
            why = "Dask had not started it" if kill is None else kill.reason
            return Completed(name="NotStarted", message=f"{why}; {tag}".rstrip("; "))
        case Outcome.FAILED:
            return Failed(message=_failure_message(ended.error))
        case Outcome.LOST:
            return Crashed(message=_failure_message(ended.error))


def _failure_message(error: AttemptError | None) -> str:
    if error is None:
        return "no reason given"
    text = str(error)
    if error.exit_code is not None:
        text += f" (exit code {error.exit_code})"
    if error.traceback:
        text += f"\n\n{error.traceback}"
    # If the text is too long, its middle is cut: beginning and end say most.
    return showable(text, LONGEST_MESSAGE)
