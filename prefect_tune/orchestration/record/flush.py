"""Waits until the API has recorded the ends of task runs."""

from __future__ import annotations

import threading
import time
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.events.worker import EventsWorker

_POLL_SECONDS = 0.1


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
