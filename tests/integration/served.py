"""A served deployment and what a person, or a catastrophe, does to its flow runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psutil

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
#: A flow run that an automation schedules again leaves its final state long before.
_LONGEST_FINAL_S = 60.0


def poll(condition: Callable[[], T], process: subprocess.Popen[Any] | None = None) -> T:
    """Wait for something that nobody announces; the test's time limit bounds it."""
    while not (found := condition()):
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.1)
    return found


def environment(**variables: str) -> dict[str, str]:
    """Of a process that finds the tests, signs of life often and polls often."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_TUNE_HEARTBEAT_S": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        **variables,
    }


@contextmanager
def serving(name: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the flows of `rerun_flows` as deployments of this name."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.rerun_flows", name],
        cwd=REPOSITORY,
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and all below it, however it is."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), process]
    except psutil.NoSuchProcess:
        family = [process]
    for member in family:
        member.kill()
    process.wait()


class Run:
    """A run of a deployment.

    Args:
        client: A client of the API.
        deployment: ``flow/deployment``.
        parameters: Its parameters.
        process: What serves it.
    """

    def __init__(
        self,
        client: Any,
        deployment: str,
        parameters: dict[str, Any],
        process: subprocess.Popen[Any] | None = None,
    ) -> None:
        from prefect.exceptions import ObjectNotFound

        def find() -> Any:
            try:
                return client.read_deployment_by_name(deployment)
            except ObjectNotFound:
                return None

        self._client = client
        found = poll(find, process)
        self.id: UUID = client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    @property
    def state(self) -> Any:
        """Its state now."""
        return self._client.read_flow_run(self.id).state

    def wait_for(self, *names: str) -> Any:
        """Wait until its state has one of these names; gives the state.

        Fails with all states if the run is in another final state and stays in it.
        """
        ended_at: float | None = None

        def reached() -> Any:
            nonlocal ended_at
            state = self.state
            if state is None or state.name in names:
                return state
            ended_at = (ended_at or time.monotonic()) if state.is_final() else None
            stays = ended_at is not None and time.monotonic() > ended_at + _LONGEST_FINAL_S
            assert not stays, f"the flow run waits for {names} in vain: {self._states()}"
            return None

        return poll(reached)

    def history(self) -> list[str]:
        """Names of all its states, oldest first."""
        return [state["name"] for state in self._states()]

    def _states(self) -> list[dict[str, Any]]:
        found = self._client.request(
            "GET", "/flow_run_states/", params={"flow_run_id": str(self.id)}
        ).json()
        shown = ("timestamp", "name", "message")
        states = [{name: state[name] for name in shown} for state in found]
        return sorted(states, key=lambda state: state["timestamp"])

    def task_runs(self) -> dict[str, str]:
        """Names of its task runs, and of those of its subflows: names of their states."""
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterId,
            FlowRunFilterParentFlowRunId,
        )

        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self.id]))
        ids = [self.id, *(run.id for run in self._client.read_flow_runs(flow_run_filter=below))]
        which = FlowRunFilter(id=FlowRunFilterId(any_=ids))
        runs = self._client.read_task_runs(flow_run_filter=which, limit=200)
        return {run.name: run.state_name for run in runs}


def kill(root: Path) -> None:
    """End the flow process that has written its id into `root`, as a lack of memory would."""
    os.kill(int((root / "pid").read_text()), signal.SIGKILL)
