"""Finds the experiment of a flow run by the event that its sweep has sent at its start."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from prefect_tune.error import InvalidArgument

STARTED = "prefect-tune.sweep.started"


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
