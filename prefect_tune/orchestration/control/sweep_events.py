"""The events by which others find a sweep, and notice that its process has ended.

An automation acts on the absence of a sweep's signs of life. Prefect's own heartbeats come every
three minutes, at best every 30 seconds, from every flow run. The sweep's come more often, and only
while a sweep runs, so the automation changes no other flow run of the same server.
"""

from __future__ import annotations

import threading
from typing import Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events import Event, emit_event
from prefect.exceptions import ObjectNotFound

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.control.current_flow import FlowIdentity
from prefect_tune.orchestration.logs import log_failure
from prefect_tune.orchestration.threads import make_thread

HEARTBEAT = "prefect-tune.sweep.heartbeat"
#: The event of a sweep's end, after which no sign of life comes.
ENDED = "prefect-tune.sweep.ended"
STARTED = "prefect-tune.sweep.started"


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


def directory_of(flow_run_id: UUID) -> str:
    """Return the directory of the newest sweep of a flow run.

    Raises:
        InvalidArgument: If there is no such flow run, or it has begun no sweep.
    """
    which = {
        "event": {"name": [STARTED]},
        "any_resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
        "order": "DESC",
    }
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/events/filter", json={"filter": which}).json()
        if found["events"]:
            return str(found["events"][0]["payload"]["directory"])
        try:
            run = client.read_flow_run(flow_run_id)
        except ObjectNotFound as error:
            raise InvalidArgument(
                "experiment",
                f"there is no flow run {flow_run_id}.",
                "Its id is in the address of its page.",
            ) from error
    what, hint = "has begun no sweep", "A sweep can be found a few seconds after its start."
    if run.state is not None and run.state.is_final():
        what = f"has ended without a sweep: {run.state.name}, {run.state.message or 'no message'}"
        hint = "Start it again, and control it while it runs."
    raise InvalidArgument("experiment", f"flow run {run.name} ({flow_run_id}) {what}.", hint)
