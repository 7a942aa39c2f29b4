"""A sweep's signs of life, by which an automation notices that its process has gone.

Prefect's own heartbeats come every three minutes, at best every 30 seconds, from every flow run.
These come more often, and only while a sweep runs, so an automation that acts on their absence
meddles with no other flow run of the same server.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events import emit_event

from prefect_tune.orchestration.flow_identity import FlowIdentity

_logger = logging.getLogger("prefect_tune")

HEARTBEAT = "prefect-tune.sweep.heartbeat"
ENDED = "prefect-tune.sweep.ended"


@contextmanager
def heartbeats(flow: FlowIdentity | None, interval: float) -> Iterator[None]:
    """Emit signs of life of the outermost flow run, from a thread of their own.

    Args:
        flow: Where the sweep runs; None emits nothing.
        interval: Seconds between two of them; 0 emits none.
    """
    if flow is None or interval <= 0:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while True:
            _emit(HEARTBEAT, flow)
            if over.wait(interval):
                return

    # The caller's settings hold for this thread as well.
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(beat,), name="prefect-heartbeat", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _emit(ENDED, flow)


def _emit(event: str, flow: FlowIdentity) -> None:
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{flow.root_id}",
        "prefect.resource.name": flow.root_name,
        # As in the state events of flow runs: an automation can tell by it how often to try.
        "prefect.run-count": str(flow.root_run_count),
    }
    related = []
    if flow.deployment_id is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.deployment.{flow.deployment_id}",
                "prefect.resource.role": "deployment",
            }
        )
    try:
        emit_event(event, resource=resource, related=related)
    except Exception:
        _logger.debug("A heartbeat could not be sent.", exc_info=True)
