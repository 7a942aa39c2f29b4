"""The nodes that serve an experiment, as they come and go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import CapacityChanged, Node, Outcome
from prefect_tune.error import ClusterError
from prefect_tune.execution.agent_plugin import install_agent
from prefect_tune.execution.base import Emit, ExperimentEnv, Fail
from prefect_tune.execution.cluster_handle import ClusterHandle, WorkerFacts
from prefect_tune.execution.driver_files import DriverFiles
from prefect_tune.execution.fitting import dask_constraint
from prefect_tune.execution.live_attempts import LiveAttempts
from prefect_tune.execution.node_link import NodeLink
from prefect_tune.execution.reports import LOAD, Entry
from prefect_tune.execution.requests import TakeBack
from prefect_tune.execution.scheduler_watch import PERIOD_S, watch_scheduler
from prefect_tune.execution.storage_outages import StorageOutages
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.resources import Resources

_logger = logging.getLogger(__name__)
#: Seconds after which an attempt that Dask has not started is moved.
_START_S = 5.0
#: Seconds that files of nodes may take to come when everything else is over.
_FILES_S = 30.0


class NodePool:
    """Belongs to the client's event loop, except where a method says otherwise.

    Args:
        cluster: The cluster.
        env: The experiment.
        attempts: Takes what the nodes report, and is told which nodes are lost.
        files: Serves the nodes that do not see the experiment directory.
        emit: Takes `CapacityChanged`.
        fail: Takes the error when the cluster is gone, if anybody does.
    """

    def __init__(
        self,
        cluster: ClusterHandle,
        env: ExperimentEnv,
        attempts: LiveAttempts,
        files: DriverFiles,
        emit: Emit,
        fail: Fail | None,
    ) -> None:
        self._cluster = cluster
        self._env = env
        self._attempts = attempts
        self._files = files
        self._emit = emit
        self._fail = fail
        self._outages = StorageOutages()
        self._links: dict[str, NodeLink] = {}
        self._nodes: dict[str, Node] = {}
        self._declared: dict[str, Mapping[str, float]] = {}
        #: Where the experiment is being opened now.
        self._opening: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes now; from any thread."""
        return tuple(self._nodes.values())

    def declared(self, address: str) -> Mapping[str, float] | None:
        """Dask resources that a node declares, None if it is not there; from any thread."""
        return self._declared.get(address)

    async def open(self, workers: Mapping[str, WorkerFacts]) -> None:
        """Open the experiment on these workers.

        Raises:
            ClusterError: If one of them cannot take part.
        """
        self._opening.update(workers)
        self._cluster.listen(self._on_worker)
        try:
            await asyncio.gather(*(self._open_node(facts) for facts in workers.values()))
        except BaseException:
            await self.close()
            raise
        self._announce()
        self._start(self._take_back_unstarted())
        self._start(watch_scheduler(self._cluster, self))

    async def close(self) -> None:
        """End the experiment on all nodes."""
        self._cluster.unlisten(self._on_worker)
        for task in self._tasks:
            task.cancel()
        await self._files.close(_FILES_S)
        links, self._links = self._links, {}
        await asyncio.gather(*(link.close() for link in links.values()))
        self._nodes.clear()
        self._declared.clear()
        self._attempts.lose_all("the experiment was closed")

    def send(self, messages: Sequence[Decide | Kill | TakeBack]) -> None:
        """Pass decisions and orders on to the nodes of the attempts they are for."""
        by_node: dict[str, list[Decide | Kill | TakeBack]] = {}
        for message in messages:
            # An attempt that has ended meanwhile needs no decision.
            if self._attempts.is_live(message.trial_id, message.attempt):
                by_node.setdefault(message.node, []).append(message)
        for address, batch in by_node.items():
            if address in self._links:
                self._links[address].send(batch)

    def on_dropped(self, launch: Launch, status: str) -> None:
        """Dask has forgotten an attempt's task, whose process may run on."""
        # If that is because the connection was lost, the watch knows by then and has told so.
        loop = asyncio.get_running_loop()
        loop.call_later(2 * PERIOD_S, self._give_up, launch, status)

    def _give_up(self, launch: Launch, status: str) -> None:
        trial_id, attempt, node = launch.trial_id, launch.attempt, launch.node
        message = f"Dask has dropped the trial's task ({status}) on {node}"
        self.send([Kill(trial_id, attempt, node, message)])
        self._attempts.end(trial_id, attempt, Outcome.LOST, AttemptError("lost", message))

    async def _open_node(self, facts: WorkerFacts) -> None:
        link = NodeLink(
            self._cluster.client.scheduler,
            facts.address,
            self._env,
            self._deliver,
            self._on_silence,
        )
        try:
            said = await link.open()
        finally:
            self._opening.discard(facts.address)
        if not said["shared"]:
            self._files.add_node(facts.address)
        self._links[facts.address] = link
        self._declared[facts.address] = facts.declared
        node = Node(facts.address, facts.resources, tuple(said["devices"]))
        self._nodes[facts.address] = _loaded(node, *said["load"])
        link.start()

    def _deliver(self, address: str, entries: Sequence[Entry]) -> None:
        rest = self._outages.take(address, self._take_load(address, entries))
        self._attempts.deliver(address, self._files.take(address, rest))

    def _take_load(self, address: str, entries: Sequence[Entry]) -> list[Entry]:
        """Take what a node reports about its load; returns the reports that are for others."""
        rest = []
        for entry in entries:
            if entry[0] != LOAD:
                rest.append(entry)
            elif address in self._nodes:
                self._nodes[address] = _loaded(self._nodes[address], *entry[3:])
                self._announce()
        return rest

    def _announce(self) -> None:
        self._emit(CapacityChanged(time.time(), self.nodes))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_worker(self, added: bool, address: str) -> None:
        if not added:
            self._on_lost(address, "its process or its connection has ended")
        elif address not in self._links and address not in self._opening:
            self._opening.add(address)
            self._start(self._join(address))

    async def _join(self, address: str) -> None:
        """Take a new worker in; one that does not fit is left out, with a warning."""
        try:
            facts = (await self._cluster.ask_workers()).get(address)
            if facts is None:
                return
            await self._open_node(facts)
        except Exception as error:  # Dask's errors have no common class
            _logger.warning("The new worker at %s is left out: %s", address, error)
            return
        finally:
            self._opening.discard(address)
        self._announce()

    def _on_silence(self, address: str, reason: str) -> None:
        """A node does not serve us any more; it may again if it is still there."""
        self._on_lost(address, reason)
        self._on_worker(True, address)

    def _on_lost(self, address: str, reason: str) -> None:
        link = self._links.pop(address, None)
        if link is None:
            return
        link.abandon()
        self._files.lose_node(address)
        self._outages.lose_node(address)
        self._nodes.pop(address, None)
        self._declared.pop(address, None)
        # In this order, so that what is retried is not sent there once more.
        self._announce()
        self._attempts.lose_node(address, reason)

    # -- the scheduler (`ConnectionListener`) ------------------------------------------------------

    def on_away(self) -> None:
        """Nobody can be reached: what runs is given up, here and, by its lease, there."""
        for address in list(self._links):
            self._on_lost(address, "the connection to the scheduler is lost")

    async def on_back(self) -> None:
        """Begin anew on the workers that are there now."""
        await install_agent(self._cluster.client)  # it may be a new scheduler
        for address in await self._cluster.ask_workers():
            self._on_worker(True, address)

    def on_gone(self) -> None:
        """Nothing can go on."""
        self.on_away()
        message = f"the connection to the Dask scheduler at {self._cluster.address} is lost"
        self._attempts.lose_all(message)
        if self._fail is not None:
            self._fail(ClusterError(f"{message}: it has ended, or cannot be reached any more."))

    async def _take_back_unstarted(self) -> None:
        """Have attempts that Dask does not start given back, so that they go where it would."""
        while True:
            await asyncio.sleep(_START_S / 2)
            for waiting in self._attempts.unstarted(_START_S):
                declared = self._declared.get(waiting.node)
                if declared is not None:
                    constraint = dask_constraint(waiting.resources, declared)
                    key = (waiting.trial_id, waiting.attempt)
                    self.send([TakeBack(*key, waiting.node, constraint, waiting.waited_s)])


def _loaded(node: Node, held: Mapping[str, float], obstacle: str) -> Node:
    """The node with what others hold of it."""
    return replace(node, held=Resources.of(**held), obstacle=obstacle)
