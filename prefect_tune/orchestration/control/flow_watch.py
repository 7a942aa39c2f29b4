"""Ends a sweep when the flow run or task around it ends or is suspended.

Prefect limits the time of a flow or task by an exception that it raises anywhere in the code of the
thread, and does not tell the threads of tasks when the flow run ends. So a sweep delays that
exception, as Prefect's own code does where it must not be interrupted, watches for both, and ends
its attempts in order. Then the exception is raised.

A request to suspend the flow run ("Suspend" in the UI, `suspend_flow_run`) is marked in the flow
process, and acted on when the next task is submitted or a task ends. Prefect stops no running task,
and task engines that find the mark leave their task runs without a final state. So the sweep looks
for the mark itself, ends its attempts in order, and hides the mark from the engines of trials.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Cancelled

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Control, ControlReceived
from prefect_tune.engine.queues import Inbox
from prefect_tune.orchestration.logs import api_client, run_log
from prefect_tune.orchestration.prefect_internals import (
    TimeoutDelay,
    is_told_to_end,
    set_context,
    suspension_request,
    without_suspension,
)

_STEP_S = 0.01
#: Seconds within which Prefect raises its exception once it is not delayed any more.
_LATEST_S = 1.0


class FlowWatch:
    """Listener for the engine that ends a sweep when the flow run or task around it ends.

    To be made in the thread of the sweep, before the sweep makes a flow run.

    Args:
        interrupt: Ends the sweep; gets the reason, and whether that is a time limit.
        is_remembered: Whether a retry of the flow run resumes the sweep.

    Attributes:
        out_of_time: True once a time limit has been reached.
    """

    def __init__(
        self, interrupt: Callable[[str, bool], None], *, is_remembered: bool = True
    ) -> None:
        self._interrupt = interrupt
        self._advice = "; a retry goes on with it" if is_remembered else ""
        self._flow = flow = FlowRunContext.get()
        self._task = task = TaskRunContext.get()
        self._shield = TimeoutDelay()
        self._limits: list[tuple[float, str]] = []
        self._told = False
        self.out_of_time = False
        if flow is not None and flow.flow_run is not None and flow.flow is not None:
            self._add_limit("flow run", flow.flow.timeout_seconds, flow.flow_run.state)
        if task is not None:
            self._add_limit("task run", task.task.timeout_seconds, task.task_run.state)

    def __call__(self, coordinator: Coordinator) -> None:
        """Check after each batch of events whether the flow run or task ends."""
        if self._told:
            return
        overdue = [what for due, what in self._limits if time.time() >= due]
        if overdue or self._shield.holds_back:
            self.out_of_time = True
            self._interrupt_sweep(f"the time limit of the {(overdue or ['flow run'])[0]} is up")
        elif self._is_over():
            self._interrupt_sweep("the flow run has ended")

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Delay the exception of a time limit until the end of this context."""
        with self._shield:
            yield
        if self.out_of_time:
            # Another thread raises it, or the event loop after this function has returned.
            deadline = time.monotonic() + _LATEST_S
            while time.monotonic() < deadline:
                time.sleep(_STEP_S)

    def _add_limit(self, what: str, seconds: float | None, state: State | None) -> None:
        if seconds is not None and state is not None and isinstance(state.timestamp, datetime):
            self._limits.append((state.timestamp.timestamp() + seconds, what))

    def _is_over(self) -> bool:
        if self._flow is None:
            return False
        # A runner ends with its flow run, and tells all its tasks so before it waits for them.
        task_run_id = None if self._task is None else self._task.task_run.id
        return is_told_to_end(self._flow.task_runner, task_run_id)

    def _interrupt_sweep(self, why: str) -> None:
        self._told = True
        run_log().warning("%s: the sweep ends here%s.", why.capitalize(), self._advice)
        self._interrupt(why, self.out_of_time)


class SuspensionWatch:
    """Listener for the engine that ends a sweep when its flow run has been suspended.

    To be made in the flow run.

    Args:
        inbox: The sweep's inbox.
        on_suspended: Called first when the flow run has been suspended.

    Attributes:
        suspended: True once the flow run has been suspended.
    """

    def __init__(self, inbox: Inbox, on_suspended: Callable[[], object]) -> None:
        context = FlowRunContext.get()
        self._request = None if context is None else suspension_request(context)
        self._inbox = inbox
        self._on_suspended = on_suspended
        self.suspended = False

    def __call__(self, coordinator: Coordinator) -> None:
        """End the sweep if its flow run has been suspended; called after each batch of events."""
        if self.suspended or self._request is None or not self._request.is_requested():
            return
        self.suspended = True
        self._on_suspended()
        run_log().warning(
            "The flow run has been suspended: the sweep ends here and goes on when it is resumed."
        )
        self._inbox.put(
            ControlReceived(time.time(), Control.INTERRUPT, reason="the flow run was suspended")
        )


def hide_suspension(context: contextvars.Context) -> None:
    """Hide a suspension from the task engines that run in a context."""
    current = context.run(FlowRunContext.get)
    if current is not None:
        set_context(context, FlowRunContext, without_suspension(current))


def end_subflow(message: str) -> None:
    """Set the final state of the current flow run, if it is a subflow of the suspended one.

    Prefect suspends the outermost flow run only, and leaves its subflows running for ever.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.parent_task_run_id is None:
        return
    state: State[Any] = Cancelled(name="Interrupted", message=message)
    with api_client("The end of the subflow could not be recorded.") as client:
        client.set_flow_run_state(run.id, state, force=True)
