"""Who a flow run is, seen from all its executions."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, SyncClientContext, TaskRunContext

from prefect_tune.engine.planning.content_digest import content_digest

_logger = logging.getLogger("prefect_tune")


@dataclass(frozen=True, slots=True)
class Caller:
    """A run below the outermost flow run, of a task or a subflow, that leads to a call.

    Attributes:
        run_id: Its id. A subflow run is another one each time the run above it is retried, and so
            is a task run.
        execution: Which execution of it this is.
        what: Its name and a digest of its arguments, which stay the same.
    """

    run_id: str
    execution: int
    what: str


@dataclass(frozen=True, slots=True)
class FlowIdentity:
    """The flow run that surrounds the caller.

    Attributes:
        flow_run_id: The surrounding flow run.
        root_id: The outermost flow run; the one that a person retries and that a deployment runs.
        root_run_count: Which execution of the outermost one this is.
        root_name: Its name.
        deployment_id: Its deployment, if it has one.
        callers: The runs that lead from the outermost one to here, the outer ones first.
    """

    flow_run_id: str
    root_id: str
    root_run_count: int
    root_name: str = ""
    deployment_id: str | None = None
    callers: tuple[Caller, ...] = ()

    @property
    def resource(self) -> dict[str, str]:
        """The resource that events of its sweeps concern."""
        return {
            "prefect.resource.id": f"prefect.flow-run.{self.root_id}",
            "prefect.resource.name": self.root_name,
            # As in the state events of flow runs: an automation can tell by it how often to try.
            "prefect.run-count": str(self.root_run_count),
        }


def current_flow_identity() -> FlowIdentity | None:
    """The surrounding flow run; None outside of one."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    own = root = context.flow_run
    below: list[tuple[str, FlowRun]] = []
    if own.parent_task_run_id is not None:
        try:
            root, below = _way_up(own)
        except Exception:
            _logger.debug("The flow run above this one could not be read.", exc_info=True)
    return FlowIdentity(
        flow_run_id=str(own.id),
        root_id=str(root.id),
        root_run_count=root.run_count,
        root_name=root.name,
        deployment_id=None if root.deployment_id is None else str(root.deployment_id),
        callers=_callers([("", root), *below]),
    )


def _way_up(run: FlowRun) -> tuple[FlowRun, list[tuple[str, FlowRun]]]:
    """The outermost flow run above one, and those below it with the names of their flows."""
    below: list[tuple[str, FlowRun]] = []
    with SyncClientContext.get_or_create() as context:
        while run.parent_task_run_id is not None:
            call = context.client.read_task_run(run.parent_task_run_id)
            if call.flow_run_id is None:
                break
            # Behind the name of the flow stands which call of it this is, in order.
            below.insert(0, (call.name.removesuffix(f"-{call.dynamic_key}"), run))
            run = context.client.read_flow_run(call.flow_run_id)
    return run, below


def _callers(flow_runs: list[tuple[str, FlowRun]]) -> tuple[Caller, ...]:
    """The runs below the first of some flow runs, each of which was called in the one before it."""
    task = TaskRunContext.get()
    callers: list[Caller] = []
    for depth, (flow, run) in enumerate(flow_runs):
        if depth:
            # As the API has them: what it cannot keep it shows alike each time.
            arguments = json.dumps(run.parameters, sort_keys=True, default=str)
            what = f"{flow} {content_digest(arguments)}"
            callers.append(Caller(str(run.id), run.run_count, what))
        if task is not None and task.task_run.flow_run_id == run.id:
            what = f"{task.task.name} {content_digest(task.parameters)}"
            callers.append(Caller(str(task.task_run.id), task.task_run.run_count, what))
    return tuple(callers)
