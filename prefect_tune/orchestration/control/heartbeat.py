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
#: The event of a sweep's end, after which no sign of life comes.
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

    def end(self) -> Event | None:
        """The sweep ends, or begins to: gives the last sign of life.

        The event of its end has to follow that one: the server would take the other order for a
        sweep that lives.
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
        related = []
        if flow.deployment_id is not None:
            related.append(
                {
                    "prefect.resource.id": f"prefect.deployment.{flow.deployment_id}",
                    "prefect.resource.role": "deployment",
                }
            )
        try:
            return emit_event(HEARTBEAT, resource=flow.resource, related=related)
        except Exception:
            _logger.debug("A heartbeat could not be sent.", exc_info=True)
            return None
