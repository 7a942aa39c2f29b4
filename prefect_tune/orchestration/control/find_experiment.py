"""Finds the experiment of a flow run by the event that its sweep has sent at its start."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client

from prefect_tune.error import InvalidArgument

STARTED = "prefect-tune.sweep.started"


def directory_of(flow_run_id: UUID) -> str:
    """Return the directory of the newest sweep of a flow run.

    Raises:
        InvalidArgument: If the flow run has begun no sweep.
    """
    which = {
        "event": {"name": [STARTED]},
        "any_resource": {"id": [f"prefect.flow-run.{flow_run_id}"]},
        "order": "DESC",
    }
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/events/filter", json={"filter": which}).json()
    if not found["events"]:
        raise InvalidArgument(
            "experiment",
            f"flow run {flow_run_id} has begun no sweep.",
            "A sweep can be found a few seconds after its start.",
        )
    return str(found["events"][0]["payload"]["directory"])
