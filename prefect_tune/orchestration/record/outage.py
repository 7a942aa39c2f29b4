"""Waits for a Prefect API that does not answer at the end of a sweep."""

from __future__ import annotations

import atexit
import contextvars
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from prefect_tune.orchestration.control.crashed_runs import end_unfinished_task_runs
from prefect_tune.orchestration.logs import log_failure
from prefect_tune.orchestration.server.api import api_problem
from prefect_tune.orchestration.threads import make_thread

_logger = logging.getLogger("prefect_tune")

#: Message of the final state of a task run whose end is not known.
AWAY = "It has ended while the Prefect API was away."
_POLL_S = 1.0
_LATE_POLL_S = 5.0
_LATEST_S = 600.0


def await_api(problem: Exception, patience_s: float) -> Exception | None:
    """Wait for an API that does not answer.

    Args:
        problem: Why the API does not answer.
        patience_s: Seconds to wait.

    Returns:
        None if the API answers again, else why not. An answer with an error ends the wait.
    """
    deadline = time.monotonic() + patience_s
    told = False
    while not isinstance(problem, httpx.HTTPStatusError) and time.monotonic() < deadline:
        if not told:
            told = True
            _logger.warning(
                "The Prefect API has gone away (%s). The end of the sweep is recorded when it is "
                "back within %.0f s.",
                problem,
                patience_s,
            )
        time.sleep(_POLL_S)
        still = api_problem()
        if still is None:
            return None
        problem = still
    return problem


class LateEnding:
    """Sets the final state of a flow run once the API is back, as long as this process lives.

    Otherwise a flow run above it could end and leave this one running.

    Args:
        flow_run_id: The flow run.
        state: Final state of the flow run.
        ends: Final states of its task runs.

    Attributes:
        over: Set when the state has been set, or is given up.
    """

    def __init__(
        self, flow_run_id: UUID, state: State[Any], ends: Mapping[UUID, State[Any]]
    ) -> None:
        self._flow_run_id = flow_run_id
        self._state = state
        self._ends = ends
        self._lock = threading.Lock()
        self.over = threading.Event()
        make_thread("prefect-late-ending", self._keep_trying).start()
        # The thread is asleep, as a rule, when the process ends.
        atexit.register(contextvars.copy_context().run, self._try)

    def _keep_trying(self) -> None:
        deadline = time.monotonic() + _LATEST_S
        while not self.over.wait(_LATE_POLL_S) and time.monotonic() < deadline:
            self._try()
        self.over.set()

    def _try(self) -> None:
        with self._lock:
            if self.over.is_set() or api_problem() is not None:
                return
            failure = log_failure("The end of the flow run could not be recorded.")
            with failure, get_client(sync_client=True) as client:
                end_unfinished_task_runs(self._flow_run_id, AWAY, self._ends)
                client.set_flow_run_state(self._flow_run_id, self._state, force=True)
            self.over.set()
