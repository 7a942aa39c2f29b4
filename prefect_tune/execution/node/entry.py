"""Functions that the driver calls on Dask workers: install the agent, run attempts with it."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from typing import TYPE_CHECKING, cast

from distributed import Client, Worker, get_worker
from distributed.worker_state_machine import SecedeEvent

from prefect_tune.execution.base import AttemptRequest
from prefect_tune.execution.node.plugins import AgentPlugin, LeavingNanny
from prefect_tune.execution.protocol.requests import LEAVE, NANNY_PLUGIN, OPEN, PLUGIN, PickledValue

if TYPE_CHECKING:
    from prefect_tune.execution.node.agent import TrialAgent
    from prefect_tune.execution.node.experiment import NodeExperiment

#: Seconds that workers have to answer.
_INSTALL_S = 10.0


def agent_of(worker: Worker) -> TrialAgent:
    """Return the agent of a worker that has this package."""
    return cast("TrialAgent", worker.plugins[PLUGIN].agent)


async def install_agent(client: Client) -> None:
    """Install the agent on all present and future workers; runs in the client's event loop.

    The scheduler sends it to all workers at once; a worker that hangs gets it when it continues.
    """
    plugins: list[AgentPlugin | LeavingNanny] = [AgentPlugin(PLUGIN, OPEN)]
    if not client.scheduler.address.startswith("inproc://"):
        plugins.append(LeavingNanny(NANNY_PLUGIN, LEAVE))
    registered = [client.register_plugin(plugin, name=plugin.name) for plugin in plugins]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*registered), _INSTALL_S)


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
    await _secede_and_get_experiment(key, loaded).run(loaded, PickledValue(config))


async def reserve_bundles(key: tuple[str, ...], request: bytes) -> None:
    """Reserve the bundles on this worker of an attempt of another one, until it ends.

    Args:
        key: The key of this task.
        request: The pickled `AttemptRequest`.
    """
    loaded: AttemptRequest = pickle.loads(request)
    experiment = _secede_and_get_experiment(key, loaded)
    # Dask cancels it when the worker closes; then the attempt may have to write a checkpoint.
    await asyncio.shield(experiment.bundles.reserve(loaded))


def _secede_and_get_experiment(key: tuple[str, ...], request: AttemptRequest) -> NodeExperiment:
    """Exempt this task from the worker's limit of threads, and return the attempt's experiment.

    Only resources limit how many attempts run. This is like `distributed.secede`, which only
    supports tasks in threads.

    Raises:
        ExperimentNotOpen: If the experiment is not open on this worker.
    """
    worker = get_worker()
    experiment = agent_of(worker).experiment(request.experiment_id)
    # Dask needs the expected duration for adaptive clusters.
    duration, stimulus = experiment.expected_s, f"attempt-secede-{key[-1]}"
    worker.handle_stimulus(SecedeEvent(key=key, compute_duration=duration, stimulus_id=stimulus))
    return experiment
