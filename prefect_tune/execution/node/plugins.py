"""The Dask plugins that give each worker an agent, and let its nanny wait for checkpoints.

A cluster has other users, and its scheduler sends plugins to every worker that joins, for as long
as the scheduler lives. A worker that cannot load one may not start, or crash. One without this
package does not have the names in it, and one with another Python cannot run its compiled code: so
the plugins travel as the source of this module, which imports the package in functions only.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from distributed import Nanny, NannyPlugin, Worker, WorkerPlugin
from distributed import __version__ as distributed_version

if TYPE_CHECKING:
    from prefect_tune.execution.node.agent import TrialAgent


class _TravelsAsSource:
    #: A second driver must not replace the agent that runs the trials of the first.
    idempotent = True

    def __init__(self, name: str, operation: str) -> None:
        self.name = name
        self._operation = operation

    def __reduce__(self) -> tuple[Any, ...]:
        variables = {
            "source": inspect.getsource(sys.modules[__name__]),
            "space": {"__name__": __name__},
            "kind": type(self).__name__,
            "given": (self.name, self._operation),
        }
        return eval, ("exec(source, space) or space[kind](*given)", variables)


class AgentPlugin(_TravelsAsSource, WorkerPlugin):  # type: ignore[misc]
    """Gives a worker an agent, or a handler that tells why it can have none.

    Args:
        name: Name of the plugin on the cluster.
        operation: Name of the handler that opens an experiment.

    Attributes:
        agent: The worker's agent.
    """

    agent: TrialAgent | None = None

    def setup(self, worker: Worker) -> None:
        """Install the agent."""
        try:
            from prefect_tune.execution.node.agent import TrialAgent

            self.agent = TrialAgent(worker)
        except Exception as error:  # other versions of anything may raise anything
            misfit = (
                f"it cannot import prefect_tune: {error!r}; it has Python "
                f"{sys.version.split()[0]} and distributed {distributed_version}"
            )

            async def refuse(**_: object) -> dict[str, str]:
                return {"misfit": misfit}

            worker.handlers[self._operation] = refuse

    async def teardown(self, worker: Worker) -> None:
        """End the agent's experiments."""
        if self.agent is not None:
            await self.agent.teardown(worker)


class LeavingNanny(_TravelsAsSource, NannyPlugin):  # type: ignore[misc]
    """Lets a nanny wait for checkpoints of its worker's trials at SIGTERM.

    Args:
        name: Name of the plugin on the cluster.
        operation: Name of the worker's handler that waits for them.
    """

    signals: Any = None

    def setup(self, nanny: Nanny) -> None:
        """Handle SIGTERM."""
        try:
            from prefect_tune.execution.node.sigterm import LeavingAtSigterm
        except Exception:  # its worker has no agent either, and says why
            return

        async def leave() -> None:
            await getattr(nanny.rpc(nanny.worker_address), self._operation)()

        self.signals = LeavingAtSigterm(leave)

    def teardown(self, nanny: Nanny) -> None:
        """Handle SIGTERM no longer."""
        if self.signals is not None:
            self.signals.close()
