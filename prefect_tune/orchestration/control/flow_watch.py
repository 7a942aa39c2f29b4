"""Ends a sweep when the flow run or task around it ends, by its time limit or by a signal.

Prefect limits the time of a flow or task by an exception that it raises anywhere in the code of the
thread, and does not tell the threads of tasks when the flow run ends. So a sweep delays that
exception, as Prefect's own code does where it must not be interrupted, watches for both, and ends
its attempts in order. Then the exception is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.orchestration.logs import run_log
from prefect_tune.orchestration.prefect_internals import ThreadShield, is_told_to_end

_STEP_S = 0.01
#: Seconds within which Prefect raises its exception once it is not delayed any more.
_LATEST_S = 1.0


class FlowWatch:
    """Listener for the engine that ends a sweep when the flow run or task around it ends.

    To be made in the thread of the sweep, before the sweep makes a flow run.

    Args:
        interrupt: Ends the sweep; gets the reason, and whether that is a time limit.
        is_remembered: Whether a retry of the flow run resumes the sweep.

    Attributes:
        out_of_time: True once a time limit has been reached.
    """

    def __init__(
        self, interrupt: Callable[[str, bool], None], *, is_remembered: bool = True
    ) -> None:
        self._interrupt = interrupt
        self._advice = "; a retry goes on with it" if is_remembered else ""
        self._flow = flow = FlowRunContext.get()
        self._task = task = TaskRunContext.get()
        self._shield = ThreadShield()
        self._limits: list[tuple[float, str]] = []
        self._told = False
        self.out_of_time = False
        if flow is not None and flow.flow_run is not None and flow.flow is not None:
            self._limit("flow run", flow.flow.timeout_seconds, flow.flow_run.state)
        if task is not None:
            self._limit("task run", task.task.timeout_seconds, task.task_run.state)

    def __call__(self, coordinator: Coordinator) -> None:
        """Check after each batch of events whether the flow run or task ends."""
        if self._told:
            return
        overdue = [what for due, what in self._limits if time.time() >= due]
        if overdue or self._shield.holds_back:
            self.out_of_time = True
            self._interrupt_sweep(f"the time limit of the {(overdue or ['flow run'])[0]} is up")
        elif self._is_over():
            self._interrupt_sweep("the flow run has ended")

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Delay the exception of a time limit until the end of this context."""
        with self._shield:
            yield
        if self.out_of_time:
            # Another thread raises it, or the event loop after this function has returned.
            deadline = time.monotonic() + _LATEST_S
            while time.monotonic() < deadline:
                time.sleep(_STEP_S)

    def _limit(self, what: str, seconds: float | None, state: State | None) -> None:
        if seconds is not None and state is not None and isinstance(state.timestamp, datetime):
            self._limits.append((state.timestamp.timestamp() + seconds, what))

    def _is_over(self) -> bool:
        if self._flow is None:
            return False
        # A runner ends with its flow run, and tells all its tasks so before it waits for them.
        task_run_id = None if self._task is None else self._task.task_run.id
        return is_told_to_end(self._flow.task_runner, task_run_id)

    def _interrupt_sweep(self, why: str) -> None:
        self._told = True
        run_log().warning("%s: the sweep ends here%s.", why.capitalize(), self._advice)
        self._interrupt(why, self.out_of_time)
