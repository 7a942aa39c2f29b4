"""Waits until the Prefect API has recorded a sweep, also if it does not answer at its end."""

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
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import TERMINAL_STATES, State
from prefect.events.worker import EventsWorker

from prefect_tune.orchestration.control.crashed_runs import end_unfinished_task_runs
from prefect_tune.orchestration.logs import log_failure
from prefect_tune.orchestration.server.api import api_problem
from prefect_tune.orchestration.threads import make_thread

_POLL_SECONDS = 0.1
_logger = logging.getLogger("prefect_tune")
#: Message of the final state of a task run whose end is not known.
AWAY = "It has ended while the Prefect API was away."
_POLL_S = 1.0
_LATE_POLL_S = 5.0
_LATEST_S = 600.0


def flush_events(timeout: float) -> bool:
    """Wait until all events emitted so far have been sent.

    Task runs exist on the server only through their events, which a background worker sends.

    Args:
        timeout: Seconds to wait.

    Returns:
        False if some are still queued.
    """
    sent = threading.Event()

    def wait() -> None:
        EventsWorker.instance().wait_until_empty()
        sent.set()

    threading.Thread(target=wait, name="prefect-events-flush", daemon=True).start()
    return sent.wait(timeout)


def await_final_states(
    client: SyncPrefectClient, flow_run_id: UUID, expected: int, timeout: float
) -> int:
    """Wait until the server has recorded the final states of a flow run's task runs.

    Args:
        client: A client of the API.
        flow_run_id: The flow run.
        expected: How many task runs must be final.
        timeout: Seconds to wait.

    Returns:
        How many are not final yet.
    """
    wanted = {
        "flow_runs": {"id": {"any_": [str(flow_run_id)]}},
        "task_runs": {"state": {"type": {"any_": sorted(TERMINAL_STATES)}}},
    }
    deadline = time.monotonic() + timeout
    while True:
        final: int = client.request("POST", "/task_runs/count", json=wanted).json()
        if final >= expected or time.monotonic() >= deadline:
            return max(expected - final, 0)
        time.sleep(_POLL_SECONDS)


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


class FinalStateSetter:
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
