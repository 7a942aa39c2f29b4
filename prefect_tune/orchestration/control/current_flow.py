"""The flow run around a call: its identity across executions, its tags, and whether it is a sweep.

Prefect runs as many tasks with a tag as its concurrency limit says; others wait. The coordinator
task of a sweep waits for a slot. Task runs of trials take no slots, for which they would wait for
their own sweep. Instead, the sweep runs no more trials at a time than the limit says.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, SyncClientContext, TagsContext, TaskRunContext
from prefect.exceptions import ObjectNotFound

from prefect_tune.engine.setup.digests import content_digest
from prefect_tune.orchestration.logs import api_client, log_failure


@dataclass(slots=True)
class ExperimentFlowRun:
    """Flow run whose only purpose is one experiment.

    Attributes:
        final_state: The state that the flow run should end in; None until the experiment has ended.
        taken: True once an experiment has begun in it.
    """

    final_state: State[Any] | None = None
    taken: bool = False


_current: ContextVar[ExperimentFlowRun | None] = ContextVar("prefect_tune_flow", default=None)


@contextlib.contextmanager
def current_flow_is_experiment() -> Iterator[ExperimentFlowRun]:
    """Let the next experiment inside use the surrounding flow run instead of making a subflow.

    For flows whose only purpose is one experiment. They should return its `final_state`.
    """
    flow_run = ExperimentFlowRun()
    token = _current.set(flow_run)
    try:
        yield flow_run
    finally:
        _current.reset(token)


def experiment_flow_run() -> ExperimentFlowRun | None:
    """Return the surrounding flow run if its only purpose is one experiment, else None."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Caller:
    """A run below the outermost flow run, of a task or a subflow, that leads to a call.

    Attributes:
        run_id: Id of the run, a new one each time the run above it is retried.
        execution: Number of the run's execution.
        what: Name and digest of the arguments, which stay the same.
    """

    run_id: str
    execution: int
    what: str


@dataclass(frozen=True, slots=True)
class FlowIdentity:
    """The flow run that surrounds the caller.

    Attributes:
        flow_run_id: The surrounding flow run.
        root_id: The outermost flow run, which a person retries and a deployment runs.
        root_run_count: Number of the outermost flow run's execution.
        root_name: Name of the outermost flow run.
        deployment_id: Deployment of the outermost flow run, if it has one.
        callers: The runs that lead from the outermost flow run to here, outer ones first.
    """

    flow_run_id: str
    root_id: str
    root_run_count: int
    root_name: str = ""
    deployment_id: str | None = None
    callers: tuple[Caller, ...] = ()

    @property
    def resource(self) -> dict[str, str]:
        """Resource of the events of sweeps in the flow run."""
        return {
            "prefect.resource.id": f"prefect.flow-run.{self.root_id}",
            "prefect.resource.name": self.root_name,
            # As in the state events of flow runs; an automation limits the retries by it.
            "prefect.run-count": str(self.root_run_count),
        }


def current_flow_identity() -> FlowIdentity | None:
    """Return the surrounding flow run; None outside one."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    own = root = context.flow_run
    below: list[tuple[str, FlowRun]] = []
    if own.parent_task_run_id is not None:
        with log_failure("The flow run above this one could not be read."):
            root, below = _read_ancestors(own)
    return FlowIdentity(
        flow_run_id=str(own.id),
        root_id=str(root.id),
        root_run_count=root.run_count,
        root_name=root.name,
        deployment_id=None if root.deployment_id is None else str(root.deployment_id),
        callers=_callers([("", root), *below]),
    )


def _read_ancestors(run: FlowRun) -> tuple[FlowRun, list[tuple[str, FlowRun]]]:
    """Read the outermost flow run above one, and those between with the names of their flows."""
    below: list[tuple[str, FlowRun]] = []
    with SyncClientContext.get_or_create() as context:
        while run.parent_task_run_id is not None:
            call = context.client.read_task_run(run.parent_task_run_id)
            if call.flow_run_id is None:
                break
            # The name ends with the number of the flow's call.
            below.insert(0, (call.name.removesuffix(f"-{call.dynamic_key}"), run))
            run = context.client.read_flow_run(call.flow_run_id)
    return run, below


def _callers(flow_runs: list[tuple[str, FlowRun]]) -> tuple[Caller, ...]:
    """Return the runs below the first of nested flow runs, which are given from outer to inner."""
    task = TaskRunContext.get()
    callers: list[Caller] = []
    for depth, (flow, run) in enumerate(flow_runs):
        if depth:
            # As the API has them, which shows what it cannot store the same way each time.
            arguments = json.dumps(run.parameters, sort_keys=True, default=str)
            what = f"{flow} {content_digest(arguments)}"
            callers.append(Caller(str(run.id), run.run_count, what))
        if task is not None and task.task_run.flow_run_id == run.id:
            what = f"{task.task.name} {content_digest(task.parameters)}"
            callers.append(Caller(str(task.task_run.id), task.task_run.run_count, what))
    return tuple(callers)


class TagLimit(NamedTuple):
    """Concurrency limit of a tag, with the number of taken slots."""

    limit: int
    tag: str
    taken: int


def tags_of_caller() -> Collection[str]:
    """Return the tags of the surrounding task run, which has slots of them."""
    context = TaskRunContext.get()
    return () if context is None else context.task_run.tags


@contextlib.contextmanager
def without_tags(tags: Collection[str]) -> Iterator[None]:
    """Let the task runs inside take no slots of these tags."""
    left = TagsContext.get().current_tags.difference(tags)
    with TagsContext(current_tags=left):
        yield


def forget_tags(context: Context) -> None:
    """Let the task runs in a context take no slots at all."""
    context.run(TagsContext().__enter__)


def tag_limits() -> list[TagLimit]:
    """Read the limits of the tags in effect, the smallest first."""
    found = []
    failure = "The limits of the tags could not be read."
    for tag in sorted(TagsContext.get().current_tags):
        with api_client(failure) as client, contextlib.suppress(ObjectNotFound):
            known = client.read_global_concurrency_limit_by_name(f"tag:{tag}")
            if known.active:
                found.append(TagLimit(known.limit, tag, known.active_slots))
    return sorted(found)
