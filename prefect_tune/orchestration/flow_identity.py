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
        path: Names of the calls that lead from there to here; empty if they are the same.
    """

    flow_run_id: str
    run_count: int
    root_id: str
    root_run_count: int
    path: tuple[str, ...] = ()

    @property
    def is_again(self) -> bool:
        """True if there was an execution before."""
        return self.run_count > 1 or self.root_run_count > 1


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
    return FlowIdentity(str(own.id), own.run_count, str(root.id), root.run_count, path)


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
