"""Ends the records of flow runs whose process has gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed

from prefect_tune.orchestration.logs import api_client, log_failure
from prefect_tune.storage.experiment_dir import ExperimentDir

#: File in the experiment's directory with the id of its flow run.
FILE = "flow_run.json"
_KEY = "flow_run_id"
_UNFINISHED = [StateType.PENDING, StateType.RUNNING]
_PAGE = 200


def end_unfinished_task_runs(
    flow_run_id: UUID,
    why: str = "The flow process that ran this has gone.",
    ends: Mapping[UUID, State[Any]] = MappingProxyType({}),
) -> None:
    """Set final states for the unfinished task runs of a flow run in which nothing runs.

    A process that is killed cannot tell how its attempts ended, and events of an outage of the API
    are lost. Never raises: an imperfect record is no reason to stop a sweep.

    Args:
        flow_run_id: The flow run.
        why: Message of the states of task runs whose end is not known.
        ends: Known final states by task run.
    """
    this = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNFINISHED}}})
    with api_client("Task runs of an earlier execution could not be ended.") as client:
        full_page = True
        while full_page:
            runs = client.read_task_runs(
                flow_run_filter=this, task_run_filter=unfinished, limit=_PAGE
            )
            for run in runs:
                end = ends.get(run.id) or Crashed(message=why)
                client.set_task_run_state(run.id, end, force=True)
            full_page = len(runs) == _PAGE


def take_over_experiment(directory: ExperimentDir, flow_run_id: UUID, name: str) -> None:
    """Record the experiment's flow run, and mark the one before it as crashed if it seems to run.

    The caller holds the experiment's lock, so the process of the flow run before has gone, and
    nobody else would end that one. Flow runs of deployments are left to the automations and to
    those who retry them. Never raises: an imperfect record is no reason to stop a sweep.

    Args:
        directory: The experiment's directory, which has a file with the id of its flow run.
        flow_run_id: The experiment's new flow run.
        name: Name of the new flow run.
    """
    before: UUID | None = None
    with log_failure(f"{directory.path / FILE} cannot be read."):
        if (directory.path / FILE).exists():
            before = UUID(json.loads((directory.path / FILE).read_bytes())[_KEY])
    directory.write(FILE, json.dumps({_KEY: str(flow_run_id)}).encode())
    if before is None or before == flow_run_id:
        return
    # It fails most often because the flow run is on another server, such as an embedded one.
    with api_client(f"Flow run {before} was left as it is.") as client:
        run = client.read_flow_run(before)
        if run.deployment_id is not None or run.state is None or not run.state.is_running():
            return
        end_unfinished_task_runs(before)
        message = f"Its process has gone; flow run {name!r} ({flow_run_id}) goes on with it."
        client.set_flow_run_state(before, Crashed(message=message), force=True)
