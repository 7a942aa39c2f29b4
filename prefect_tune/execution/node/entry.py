"""The Dask plugin that gives each worker an agent.

A cluster has other users, and its scheduler sends the plugin to every worker that joins, for as
long as the scheduler lives. So the plugin is pickled by value, not by its name in this package: a
worker without the package could not load it, and Dask would not let such a worker start.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from typing import TYPE_CHECKING, Any, cast

from distributed import Client, Nanny, NannyPlugin, Worker, WorkerPlugin, get_worker
from distributed.worker_state_machine import SecedeEvent

from prefect_tune.execution.base import AttemptRequest
from prefect_tune.execution.protocol.requests import LEAVE, NANNY_PLUGIN, OPEN, PLUGIN, PickledValue

if TYPE_CHECKING:
    from prefect_tune.execution.node.agent import TrialAgent

#: Seconds that workers have to answer.
_INSTALL_S = 10.0


def agent_of(worker: Worker) -> TrialAgent:
    """Return the agent of a worker that has this package."""
    return cast("TrialAgent", worker.plugins[PLUGIN].agent)


async def install_agent(client: Client) -> None:
    """Install the agent on all present and future workers; runs in the client's event loop.

    The scheduler sends it to all workers at once; a worker that hangs gets it when it continues.
    """
    plugins = [(_make_plugin(PLUGIN, OPEN), PLUGIN)]
    if not client.scheduler.address.startswith("inproc://"):
        plugins.append((_make_nanny_plugin(NANNY_PLUGIN, LEAVE), NANNY_PLUGIN))
    registered = [client.register_plugin(plugin, name=name) for plugin, name in plugins]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*registered), _INSTALL_S)


def _make_plugin(plugin_name: str, open_operation: str) -> WorkerPlugin:
    # A class that is defined in a function is pickled by value.
    class AgentPlugin(WorkerPlugin):  # type: ignore[misc]
        name = plugin_name
        #: A second driver must not replace the agent that runs the trials of the first.
        idempotent = True
        agent: TrialAgent | None = None

        def setup(self, worker: Worker) -> None:
            try:
                from prefect_tune.execution.node.agent import TrialAgent
            except ImportError as error:
                problem = f"it cannot import prefect_tune: {error}"

                async def refuse(**_: object) -> dict[str, str]:
                    return {"misfit": problem}

                worker.handlers[open_operation] = refuse
                return
            self.agent = TrialAgent(worker)

        async def teardown(self, worker: Worker) -> None:
            if self.agent is not None:
                await self.agent.teardown(worker)

    return AgentPlugin()


def _make_nanny_plugin(plugin_name: str, leave_operation: str) -> NannyPlugin:
    """Make the plugin that lets a nanny wait for checkpoints of trials at SIGTERM."""

    class LeavingNanny(NannyPlugin):  # type: ignore[misc]
        name = plugin_name
        idempotent = True
        signals: Any = None

        def setup(self, nanny: Nanny) -> None:
            try:
                from prefect_tune.execution.node.sigterm import LeavingAtSigterm
            except ImportError:
                return

            async def leave() -> None:
                await getattr(nanny.rpc(nanny.worker_address), leave_operation)()

            self.signals = LeavingAtSigterm(leave)

        def teardown(self, nanny: Nanny) -> None:
            if self.signals is not None:
                self.signals.close()

    return LeavingNanny()


async def execute_attempt(key: tuple[str, ...], request: bytes, config: bytes) -> None:
    """Run an attempt on this worker, in the event loop, so that it occupies no thread.

    The driver gets the attempt's events from the agent; the task itself only holds
    the resources, and is visible on Dask's dashboard.

    Args:
        key: The key of this task.
        request: The pickled `AttemptRequest`.
        config: The pickled configuration of the attempt.
    """
    loaded: AttemptRequest = pickle.loads(request)
    await _without_thread(key, loaded).run(loaded, PickledValue(config))


async def hold_bundles(key: tuple[str, ...], request: bytes) -> None:
    """Hold the bundles on this worker of an attempt that runs on another one, until it ends.

    Args:
        key: The key of this task.
        request: The pickled `AttemptRequest`.
    """
    loaded: AttemptRequest = pickle.loads(request)
    await _without_thread(key, loaded).hold(loaded)


def _without_thread(key: tuple[str, ...], request: AttemptRequest) -> TrialAgent:
    """Exempt this task from the worker's limit of threads, and return the worker's agent.

    Only resources limit how many attempts run. This is like `distributed.secede`, which only
    supports tasks in threads.
    """
    worker = get_worker()
    agent = agent_of(worker)
    expected_s = agent.expected_s(request.experiment_id)
    worker.handle_stimulus(
        SecedeEvent(key=key, compute_duration=expected_s, stimulus_id=f"attempt-secede-{key[-1]}")
    )
    return agent
