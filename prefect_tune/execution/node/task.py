"""The Dask task of an attempt."""

from __future__ import annotations

import pickle

from distributed import get_worker
from distributed.worker_state_machine import SecedeEvent

from prefect_tune.execution.node.entry import agent_of
from prefect_tune.execution.protocol.requests import AttemptRequest, Sealed


async def execute_attempt(key: tuple[str, ...], request: bytes, config: bytes) -> None:
    """Run an attempt on this worker, from its event loop: it takes none of its threads.

    What happens to the attempt reaches the driver through the agent; the task itself only holds
    the resources and shows on Dask's dashboard that something runs.

    Args:
        key: The key of this task.
        request: The pickled `AttemptRequest`.
        config: Its pickled configuration.
    """
    worker = get_worker()
    # A running attempt must not count against the worker's threads: how many fit is a matter of
    # resources alone. Like `distributed.secede`, which only knows tasks in threads.
    loaded: AttemptRequest = pickle.loads(request)
    agent = agent_of(worker)
    expected_s = agent.expected_s(loaded.experiment_id)
    worker.handle_stimulus(
        SecedeEvent(key=key, compute_duration=expected_s, stimulus_id=f"attempt-secede-{key[-1]}")
    )
    await agent.run(loaded, Sealed(config))
