"""How an experiment appears as a flow run, and what the flow run says at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from prefect_tune.execution.base import Executor
from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.orchestration.record.task_runner import Ship

T = TypeVar("T")


class Ending(Enum):
    """How an experiment ended, for its flow run."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  #: by a signal or from the UI; can be resumed


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the flow run says at its end.

    Attributes:
        ending: Decides the type of its state.
        message: Its state's message, one line or a few.
        data: Its result, a `SweepResult`.
    """

    ending: Ending
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class ExperimentFlow:
    """How an experiment appears as a flow run.

    Attributes:
        name: Name of the flow, e.g. ``tune-train_digits``.
        run_name: Name of the flow run: the experiment's name.
        tags: Further tags of the flow run; its task runs do not get them.
        parameters: What the UI shows as parameters; JSON-able. Never callables: the server would
            turn them into ``{}``.
        executor: Runs the trials.
        ship: Runs the bodies of other tasks, see `BodyTaskRunner`; None if there are none.
        max_task_runs: How many attempts are recorded as task runs.
        is_interrupted: True once the sweep is being ended, to be resumed later.
        logs: Brings what attempts log to the logs of their task runs.
    """

    name: str
    run_name: str
    parameters: Mapping[str, Any]
    executor: Executor
    tags: tuple[str, ...] = ()
    ship: Ship | None = None
    max_task_runs: int = 2000
    is_interrupted: Callable[[], bool] = lambda: False
    logs: TaskRunLogs = field(default_factory=TaskRunLogs)


@dataclass(frozen=True, slots=True)
class FlowOutcome(Generic[T]):
    """What came of an experiment.

    Attributes:
        value: What the body returned.
        flow_run_id: Id of the flow run.
        flow_run_url: Its page in the UI, if there is a UI.
    """

    value: T
    flow_run_id: str
    flow_run_url: str | None
