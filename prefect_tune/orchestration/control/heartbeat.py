"""Emits a sweep's signs of life, by which an automation notices that its process has ended.

Prefect's own heartbeats come every three minutes, at best every 30 seconds, from every flow run.
These come more often, and only while a sweep runs, so an automation that acts on their absence
changes no other flow run of the same server.
"""

from __future__ import annotations

import threading
from typing import Self

from prefect.events import Event, emit_event

from prefect_tune.orchestration.control.flow_identity import FlowIdentity
from prefect_tune.orchestration.logs import log_failure
from prefect_tune.orchestration.threads import make_thread

HEARTBEAT = "prefect-tune.sweep.heartbeat"
#: The event of a sweep's end, after which no sign of life comes.
ENDED = "prefect-tune.sweep.ended"


class Heartbeat:
    """Context manager that emits signs of life of the outermost flow run in a thread.

    Args:
        flow: The flow run of the sweep; None emits nothing.
        interval: Seconds between two signs of life; 0 emits none.
    """

    def __init__(self, flow: FlowIdentity | None, interval: float) -> None:
        self._flow = flow if interval > 0 else None
        self._interval = interval
        self._over = threading.Event()
        self._latest: Event | None = None
        self._thread = make_thread("prefect-heartbeat", self._beat)

    def __enter__(self) -> Self:
        if self._flow is not None:
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> Event | None:
        """Stop emitting, because the sweep ends; return the last event.

        The event of the sweep's end has to follow the last sign of life: in the other order the
        server would take the sweep for alive.
        """
        if self._flow is not None and not self._over.is_set():
            self._over.set()
            self._thread.join()
        return self._latest

    def _beat(self) -> None:
        while self._flow is not None:
            self._latest = self._emit(self._flow) or self._latest
            if self._over.wait(self._interval):
                return

    @staticmethod
    def _emit(flow: FlowIdentity) -> Event | None:
        deployment = {
            "prefect.resource.id": f"prefect.deployment.{flow.deployment_id}",
            "prefect.resource.role": "deployment",
        }
        related = [] if flow.deployment_id is None else [deployment]
        with log_failure("A heartbeat could not be sent."):
            return emit_event(HEARTBEAT, resource=flow.resource, related=related)
        return None
