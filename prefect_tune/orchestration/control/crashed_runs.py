"""The flow run of an earlier process that has left an experiment without an end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
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

from prefect_tune.storage.experiment_dir import ExperimentDir

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


_logger = logging.getLogger("prefect_tune")

FILE = "flow_run.json"
_KEY = "flow_run_id"


def succeed(directory: ExperimentDir, flow_run_id: UUID, name: str) -> bool:
    """Say on the page of the flow run that had the experiment before that it has crashed.

    Who holds an experiment holds its lock, so the process before has gone, and nobody else would
    say so: its flow run would be shown as running for ever. Flow runs of deployments are left to
    the automations and to those who retry them. Never raises: a record that is not quite right is
    no reason to stop a sweep.

    Args:
        directory: Of the experiment, which remembers its flow run.
        flow_run_id: The flow run that has it now.
        name: The name of that one.

    Returns:
        True if there was one that seemed to run.
    """
    before = _before(directory.path / FILE)
    directory.write(FILE, json.dumps({_KEY: str(flow_run_id)}).encode())
    if before is None or before == flow_run_id:
        return False
    try:
        with SyncClientContext.get_or_create() as context:
            run = context.client.read_flow_run(before)
            if run.deployment_id is not None or run.state is None or not run.state.is_running():
                return False
            end_leftovers(before)
            message = f"Its process has gone; flow run {name!r} ({flow_run_id}) goes on with it."
            context.client.set_flow_run_state(before, Crashed(message=message), force=True)
    except Exception:
        # Most often it is of another server, e.g. of one that a process has for itself.
        _logger.debug("Flow run %s was left as it is.", before, exc_info=True)
        return False
    return True


def _before(path: Path) -> UUID | None:
    try:
        return UUID(json.loads(path.read_bytes())[_KEY])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        _logger.debug("%s cannot be read.", path, exc_info=True)
        return None
