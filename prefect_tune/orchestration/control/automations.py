"""Installs automations on the Prefect server that notice dead sweeps and resume them.

Prefect's open-source server does nothing by itself when the process of a flow run is lost with its
machine. Two automations do:

* the first marks a flow run as ``Crashed`` when it gets no more signs of life of its sweep
  (`prefect_tune.orchestration.control.sweep_events`);
* the second schedules a flow run again that has crashed, or whose process was told to end, during
  a sweep. The run keeps its id, so the sweep is resumed.

Both act only on flow runs in which a sweep of this package has sent a sign of life, and the second
one once per sign of life. A flow run that dies before its sweep begins is not scheduled again, so a
deployment that cannot be imported is not started for ever.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import (
    Automation,
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.events.schemas.events import ResourceSpecification

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.control.sweep_events import ENDED, HEARTBEAT

NOTICE = "prefect-tune: notice dead sweeps"
RESUME = "prefect-tune: resume crashed sweeps"

#: The shortest time that Prefect can wait for a missing event.
SHORTEST_SILENCE = 10.0
#: Time after which the next sign of life begins a new count of Prefect's trigger.
_LONGEST_SWEEP = timedelta(days=365)

_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
_FOR_EACH = {"prefect.resource.id"}
_FINAL = ("Completed", "Failed", "Cancelled", "Crashed", "Interrupted")
_LEAVING = (*_FINAL, "Cancelling", "Suspended", "Paused", "AwaitingRetry")


def create_automations(
    silence_s: float = 60.0, max_runs: int = 10, resume: bool = True
) -> list[Automation]:
    """Create the automations on the server in effect, or update existing ones.

    Args:
        silence_s: Seconds without a sign of life after which a process is taken for dead; a few
            times `PREFECT_TUNE_HEARTBEAT_S`.
        max_runs: How often a flow run is executed in all, the first time included.
        resume: False to only mark dead flow runs, so that a person resumes them.

    Raises:
        InvalidArgument: On impossible values.
    """
    if silence_s < SHORTEST_SILENCE:
        raise InvalidArgument("silence_s", f"got {silence_s:g}.", f"It is >= {SHORTEST_SILENCE:g}.")
    if max_runs < 2:
        raise InvalidArgument("max_runs", f"got {max_runs}.", "It is >= 2.")
    wanted = [_crash_automation(silence_s)] + ([_resume_automation(max_runs)] if resume else [])
    with get_client(sync_client=True) as client:
        known = {automation.name: automation for automation in _installed(client)}
        for automation in wanted:
            old = known.pop(automation.name, None)
            if old is None:
                client.create_automation(automation)
            else:
                # Somebody may have switched it off for a reason.
                automation.enabled = old.enabled
                client.update_automation(old.id, automation)
        for superfluous in known.values():
            client.delete_automation(superfluous.id)
    return list_automations()


def list_automations() -> list[Automation]:
    """Return the installed automations."""
    with get_client(sync_client=True) as client:
        return _installed(client)


def delete_automations() -> list[str]:
    """Delete the automations of this package from the server in effect; return their names."""
    with get_client(sync_client=True) as client:
        installed = _installed(client)
        for automation in installed:
            client.delete_automation(automation.id)
    return [automation.name for automation in installed]


def _crash_automation(silence_s: float) -> AutomationCore:
    return AutomationCore(
        name=NOTICE,
        description=(
            f"Marks a flow run as crashed when its sweep has given no sign of life for "
            f"{silence_s:g} s."
        ),
        trigger=EventTrigger(
            match=ResourceSpecification(_RUNS),
            after={HEARTBEAT},
            expect={HEARTBEAT, ENDED, *(f"prefect.flow-run.{name}" for name in _LEAVING)},
            for_each=_FOR_EACH,
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=silence_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"Its sweep has given no sign of life for {silence_s:g} s.",
            )
        ],
    )


def _resume_automation(max_runs: int) -> AutomationCore:
    counts = [str(count) for count in range(1, max_runs)]
    return AutomationCore(
        name=RESUME,
        description=(
            "Schedules a deployment's flow run that has crashed during a sweep again, up to "
            f"{max_runs} runs in all; the sweep goes on where it ended."
        ),
        trigger=EventTrigger(
            match=ResourceSpecification({**_RUNS, "prefect.run-count": counts}),
            # Without a deployment there is nobody to run it again.
            match_related=ResourceSpecification(
                {
                    "prefect.resource.id": "prefect.deployment.*",
                    "prefect.resource.role": "deployment",
                }
            ),
            after={HEARTBEAT},
            expect={"prefect.flow-run.Crashed", "prefect.flow-run.Interrupted"},
            for_each=_FOR_EACH,
            posture=Posture.Reactive,
            threshold=1,
            within=_LONGEST_SWEEP,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED,
                name="AwaitingRetry",
                message="Its sweep goes on where it ended.",
            )
        ],
    )


def _installed(client: SyncPrefectClient) -> list[Automation]:
    """Read the automations, of which several have the same name if they were created at a time."""
    return [
        automation
        for name in (NOTICE, RESUME)
        for automation in client.read_automations_by_name(name)
    ]
