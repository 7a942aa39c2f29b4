"""Describes an experiment's flow run, and the end of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from prefect_tune.execution.base import Executor
from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.orchestration.record.task_runner import Ship
from prefect_tune.text import in_words


class Ending(Enum):
    """Ways in which an experiment ends, for its flow run."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  #: by a signal or from the UI; can be resumed


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Content of a flow run's final state.

    Attributes:
        ending: Decides the type of the state.
        message: Message of the state, one line or a few.
        data: Result of the flow run, a `SweepResult`.
    """

    ending: Ending
    message: str
    data: Any = None


def conclusion_of(error: Exception) -> Conclusion:
    """Return the conclusion of an experiment that an error has ended."""
    return Conclusion(Ending.FAILED, f"{type(error).__name__}: {in_words(error)}")


@dataclass(frozen=True, slots=True)
class FlowRunDescription:
    """Description of the flow run of an experiment.

    Attributes:
        name: Name of the flow, e.g. ``tune-train_digits``.
        run_name: Name of the flow run: the experiment's name.
        tags: Further tags of the flow run; its task runs do not get them.
        parameters: Parameters that the UI shows, as JSON values. The server would turn callables
            into ``{}``.
        executor: Runs the trials.
        ship: Runs the bodies of other tasks, see `BodyTaskRunner`; None if there are none.
        max_task_runs: How many attempts are recorded as task runs.
        is_interrupted: Returns True once the sweep is being ended, to be resumed later.
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


class FlowOutcome(NamedTuple):
    """The flow run that an experiment ran in.

    Attributes:
        flow_run_id: Id of the flow run.
        flow_run_url: Its page in the UI, if there is a UI.
    """

    flow_run_id: str
    flow_run_url: str | None
