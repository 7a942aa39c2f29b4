"""A Prefect API that is away when a sweep ends: it may come back."""

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

from prefect_tune.orchestration.control.crashed_runs import end_leftovers
from prefect_tune.orchestration.server.api import api_problem

_logger = logging.getLogger("prefect_tune")

#: Of a task run whose end nobody knows.
AWAY = "It has ended while the Prefect API was away."
_POLL_S = 1.0
_LATE_POLL_S = 5.0
_LATEST_S = 600.0


def await_api(problem: Exception, patience_s: float) -> Exception | None:
    """Wait for an API that does not answer.

    Args:
        problem: Why it does not.
        patience_s: Seconds to wait.

    Returns:
        None if it answers again, else why not. One that answers with an error is not waited for.
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
    """Gives a flow run its final state once the API is back, as long as this process lives.

    A flow run above it may come to its own end then, and should not leave this one running.

    Args:
        flow_run_id: The flow run.
        state: Its final state.
        ends: Those of its task runs.

    Attributes:
        over: Set when it has, or will not get it any more.
    """

    def __init__(
        self, flow_run_id: UUID, state: State[Any], ends: Mapping[UUID, State[Any]]
    ) -> None:
        self._flow_run_id = flow_run_id
        self._state = state
        self._ends = ends
        self._lock = threading.Lock()
        self.over = threading.Event()
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._keep_trying,),
            name="prefect-late-ending",
            daemon=True,
        ).start()
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
            try:
                with get_client(sync_client=True) as client:
                    end_leftovers(self._flow_run_id, AWAY, self._ends)
                    client.set_flow_run_state(self._flow_run_id, self._state, force=True)
            except Exception:
                _logger.debug("The end of the flow run could not be recorded.", exc_info=True)
            self.over.set()
