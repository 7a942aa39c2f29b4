"""A sweep's signs of life, by which an automation notices that its process has gone.

Prefect's own heartbeats come every three minutes, at best every 30 seconds, from every flow run.
These come more often, and only while a sweep runs, so an automation that acts on their absence
meddles with no other flow run of the same server.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from types import TracebackType
from typing import Self

from prefect.events import Event, emit_event

from prefect_tune.orchestration.control.flow_identity import FlowIdentity

_logger = logging.getLogger("prefect_tune")

HEARTBEAT = "prefect-tune.sweep.heartbeat"
ENDED = "prefect-tune.sweep.ended"


class Heartbeat:
    """Emits signs of life of the outermost flow run, from a thread of its own.

    Use it as a context manager.

    Args:
        flow: Where the sweep runs; None emits nothing.
        interval: Seconds between two of them; 0 emits none.
    """

    def __init__(self, flow: FlowIdentity | None, interval: float) -> None:
        self._flow = flow if interval > 0 else None
        self._interval = interval
        self._over = threading.Event()
        self._latest: Event | None = None
        # The caller's settings hold for this thread as well.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._beat,),
            name="prefect-heartbeat",
            daemon=True,
        )

    def __enter__(self) -> Self:
        if self._flow is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """The sweep ends, or begins to: silence means nothing from now on."""
        if self._flow is None or self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        # Told which event it follows, the server never takes the last sign of life for a later one.
        self._emit(ENDED, self._flow, follows=self._latest)

    def _beat(self) -> None:
        while self._flow is not None:
            self._latest = self._emit(HEARTBEAT, self._flow) or self._latest
            if self._over.wait(self._interval):
                return

    @staticmethod
    def _emit(event: str, flow: FlowIdentity, follows: Event | None = None) -> Event | None:
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
            return emit_event(event, resource=resource, related=related, follows=follows)
        except Exception:
            _logger.debug("A heartbeat could not be sent.", exc_info=True)
            return None
