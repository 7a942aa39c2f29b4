"""The Dask plugin that gives each worker an agent.

A cluster has other users, and its scheduler sends the plugin to every worker that comes, for as
long as it lives itself. So the plugin travels by value, not by its name in this package: a worker
without the package could not load it, and Dask would not let such a worker start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from distributed import Client, Worker, WorkerPlugin

from prefect_tune.execution.protocol.requests import OPEN, PLUGIN

if TYPE_CHECKING:
    from prefect_tune.execution.node.agent import TrialAgent


def agent_of(worker: Worker) -> TrialAgent:
    """The agent of a worker that has this package."""
    return cast("TrialAgent", worker.plugins[PLUGIN].agent)


async def install_agent(client: Client) -> None:
    """Have every worker, now or to come, serve experiments; on the client's event loop."""
    await client.register_plugin(_make_plugin(PLUGIN, OPEN), name=PLUGIN)


def _make_plugin(plugin_name: str, open_operation: str) -> WorkerPlugin:
    # A class made in a function is pickled as what it is.
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
