"""Task runs that an earlier execution of the flow run has left without an end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType, TaskRun
from prefect.context import SyncClientContext
from prefect.states import Crashed

_logger = logging.getLogger("prefect_tune")

_UNFINISHED = [StateType.PENDING, StateType.RUNNING]
_PAGE = 200


def end_leftovers(
    flow_run_id: UUID,
    why: str = "The flow process that ran this has gone.",
    ends: Mapping[UUID, State[Any]] = MappingProxyType({}),
) -> int:
    """End what seems to run in a flow run in which nothing runs.

    A process that is killed cannot say how its attempts ended, and what it says while the API is
    away is lost; nobody else would. Never raises: a record that is not quite right is no reason to
    stop a sweep.

    Args:
        flow_run_id: The flow run.
        why: What the states of those say whose end is not known.
        ends: Known final states by task run.

    Returns:
        How many there were.
    """
    ended = 0
    try:
        with SyncClientContext.get_or_create() as context:
            while leftovers := _unfinished(context.client, flow_run_id):
                for run in leftovers:
                    end = ends.get(run.id) or Crashed(message=why)
                    context.client.set_task_run_state(run.id, end, force=True)
                ended += len(leftovers)
                if len(leftovers) < _PAGE:
                    break
    except Exception:
        _logger.debug("Task runs of an earlier execution could not be ended.", exc_info=True)
    return ended


def _unfinished(client: SyncPrefectClient, flow_run_id: UUID) -> list[TaskRun]:
    return client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNFINISHED))
        ),
        limit=_PAGE,
    )
