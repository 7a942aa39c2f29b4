"""Ends a sweep when its flow run is suspended ("Suspend" in the UI, `suspend_flow_run`).

Prefect marks the request in the flow process and acts on it when the next task is submitted or a
task ends. It stops no running task, and task engines that find the mark leave their task runs
without a final state. So the sweep looks for the mark itself, ends its attempts in order, and hides
the mark from the engines of trials.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, SyncClientContext
from prefect.states import Cancelled

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Control, ControlReceived
from prefect_tune.engine.inbox import Inbox
from prefect_tune.orchestration.logs import log_failure, run_log
from prefect_tune.orchestration.prefect_internals import (
    set_context,
    suspension_request,
    without_suspension,
)


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
        """Look for the mark after each batch of events, which costs nothing."""
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


def shield(context: contextvars.Context) -> None:
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
    failure = log_failure("The end of the subflow could not be recorded.")
    with failure, SyncClientContext.get_or_create() as clients:
        clients.client.set_flow_run_state(run.id, state, force=True)
