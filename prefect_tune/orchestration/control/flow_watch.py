"""Flow runs and tasks that end while a sweep runs in them: by their time limits, or by a signal.

Prefect limits the time of a flow or task by an exception that strikes anywhere in the code of its
thread, and an end of the flow run does not reach the threads of its tasks at all. So a sweep keeps
that exception off, as Prefect's own code does where it must not be cut off, watches for both, and
ends its attempts in order. Then the exception has its way.
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
#: Seconds within which Prefect's exception comes once it may.
_LATEST_S = 1.0


class FlowWatch:
    """Ends a sweep when the flow run or task around it is over; a listener for the engine.

    To be made in the thread of the sweep, outside of a flow run of its own.

    Args:
        interrupt: Ends the sweep; gets why, and whether that is a limit of time.
        is_remembered: Whether a retry of the flow run goes on with the sweep.
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
        """After each batch of events: look whether it is over."""
        if self._told:
            return
        overdue = [what for due, what in self._limits if time.time() >= due]
        if overdue or self._shield.holds_back:
            self.out_of_time = True
            self._end(f"the time limit of the {(overdue or ['flow run'])[0]} is up")
        elif self._is_over():
            self._end("the flow run has ended")

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Keep the exception of a time limit off inside; it is raised at the end."""
        with self._shield:
            yield
        if self.out_of_time:
            # It is thrown by another thread, or by the event loop when we have returned.
            deadline = time.monotonic() + _LATEST_S
            while time.monotonic() < deadline:
                time.sleep(_STEP_S)

    def _limit(self, what: str, seconds: float | None, state: State | None) -> None:
        if seconds is not None and state is not None and isinstance(state.timestamp, datetime):
            self._limits.append((state.timestamp.timestamp() + seconds, what))

    def _is_over(self) -> bool:
        if self._flow is None:
            return False
        # A runner ends with its flow run, and tells each of its tasks so before it waits for them.
        task_run_id = None if self._task is None else self._task.task_run.id
        return is_told_to_end(self._flow.task_runner, task_run_id)

    def _end(self, why: str) -> None:
        self._told = True
        run_log().warning("%s: the sweep ends here%s.", why.capitalize(), self._advice)
        self._interrupt(why, self.out_of_time)
