"""Who a flow run is, seen from all its executions."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, SyncClientContext

_logger = logging.getLogger("prefect_tune")


@dataclass(frozen=True, slots=True)
class FlowIdentity:
    """The flow run that surrounds the caller.

    A subflow run is another one each time the run above it is retried, so it is identified by the
    way that leads to it from the outermost run, which stays the same.

    Attributes:
        flow_run_id: The surrounding flow run.
        run_count: Which execution of it this is, from 1.
        root_id: The outermost flow run; the one that a person retries and that a deployment runs.
        root_run_count: Which execution of the outermost one this is.
        root_name: Its name.
        deployment_id: Its deployment, if it has one.
        path: Names of the calls that lead from there to here; empty if they are the same.
    """

    flow_run_id: str
    run_count: int
    root_id: str
    root_run_count: int
    root_name: str = ""
    deployment_id: str | None = None
    path: tuple[str, ...] = ()


def current_flow_identity() -> FlowIdentity | None:
    """The surrounding flow run; None outside of one."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    own = root = context.flow_run
    path: tuple[str, ...] = ()
    if own.parent_task_run_id is not None:
        try:
            root, path = _way_up(own)
        except Exception:
            _logger.debug("The flow run above this one could not be read.", exc_info=True)
            root, path = own, ()
    return FlowIdentity(
        flow_run_id=str(own.id),
        run_count=own.run_count,
        root_id=str(root.id),
        root_run_count=root.run_count,
        root_name=root.name,
        deployment_id=None if root.deployment_id is None else str(root.deployment_id),
        path=path,
    )


def _way_up(run: FlowRun) -> tuple[FlowRun, tuple[str, ...]]:
    path: list[str] = []
    with SyncClientContext.get_or_create() as context:
        while run.parent_task_run_id is not None:
            call = context.client.read_task_run(run.parent_task_run_id)
            if call.flow_run_id is None:
                break
            path.insert(0, call.name)
            run = context.client.read_flow_run(call.flow_run_id)
    return run, tuple(path)
