"""`NodePool`: the nodes that run an experiment, including ones that join or are lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import Kill, Launch
from prefect_tune.coordinator.events import CapacityChanged, Node, Outcome
from prefect_tune.error import ClusterError
from prefect_tune.execution.base import (
    Backpressure,
    Emit,
    ExperimentEnv,
    Fail,
    TakeOutput,
    TrialPlace,
)
from prefect_tune.execution.cluster.handle import ClusterHandle, WorkerFacts
from prefect_tune.execution.driver.attempt_tracker import AttemptTracker, Handler
from prefect_tune.execution.driver.dask_resources import (
    Demand,
    dask_constraint,
    real_gpus,
    tasks_for,
)
from prefect_tune.execution.driver.driver_files import DriverFiles
from prefect_tune.execution.driver.node_link import NodeLink
from prefect_tune.execution.driver.node_problems import DriverOnlyFiles, StorageOutages
from prefect_tune.execution.node.entry import install_agent
from prefect_tune.execution.protocol import reports, requests
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources

_logger = logging.getLogger(__name__)
#: Seconds between two checks of the connection to the scheduler.
_WATCH_S = 0.25
#: Seconds after which an attempt that Dask has not started is moved.
_START_S = 5.0
#: Seconds to wait at the end for files of nodes.
_FILES_S = 30.0


class NodePool:
    """Nodes of an experiment; methods run in the client's event loop unless they say otherwise.

    Args:
        cluster: The cluster.
        env: The experiment.
        emit: Handles the events of attempts and nodes.
        fail: Handles the error when the cluster is lost; None logs it.
        output: Handles the output of trials; None drops it.
        wait_for_workers_s: Seconds to wait for the first node; 0 waits for ever.
        driver: Tells when the driver is behind and nodes must not be asked for reports.

    Attributes:
        env: The experiment.
        attempts: The attempts of the experiment.
    """

    def __init__(
        self,
        cluster: ClusterHandle,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None,
        output: TakeOutput | None,
        wait_for_workers_s: float,
        driver: Backpressure | None,
    ) -> None:
        self._cluster = cluster
        self.env = env
        self._fail: Fail = fail or _logger.error
        self._unseen = DriverOnlyFiles(env.trainable.cwd, self._fail)
        self.attempts = AttemptTracker(env.experiment_id, emit, output, self._unseen.explain)
        #: Copies files for nodes that do not share the experiment directory.
        self._files = DriverFiles(cluster.client.scheduler, env)
        self._emit = emit
        self._wait_for_workers_s = wait_for_workers_s
        self._driver = driver
        self._outages = StorageOutages()
        group = requests.task_group(env.trainable.name, env.experiment_id)
        self._demand = Demand(cluster.client, group)
        #: True once there has been a node.
        self._has_begun = False
        #: Why the last worker that joined was left out.
        self._left_out = ""
        self._links: dict[str, NodeLink] = {}
        #: Nodes on which the experiment is being opened now.
        self._opening: set[str] = set()
        #: Handler of each type of report.
        self._handlers: dict[type[Any], Handler] = {
            **self.attempts.handlers,
            reports.CheckpointUploaded: self._on_uploaded,
            reports.CopyToDriver: self._files.on_request,
            reports.CopyToNode: self._files.on_request,
            reports.StorageOutage: self._outages.on_report,
            reports.WorkerLoad: self._on_load,
            reports.NodeWarning: self._on_warning,
            reports.NodeLeaving: self._on_leaving,
        }
        self._warnings: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the current nodes; may be called from any thread."""
        return tuple(link.node for link in list(self._links.values()))

    def declared(self, address: str) -> Mapping[str, float] | None:
        """Return the Dask resources that a node declares, None if it is lost; from any thread."""
        link = self._links.get(address)
        return None if link is None else link.facts.declared

    async def open(self, workers: Mapping[str, WorkerFacts], silent: Collection[str] = ()) -> None:
        """Open the experiment on these workers, and leave out those that cannot run it.

        Args:
            workers: The workers.
            silent: Workers that do not answer; they are added when they do.

        Raises:
            ClusterError: If some answer, and none of them can take part.
        """
        workers = {name: facts for name, facts in workers.items() if name not in silent}
        self._opening.update(workers)
        self._cluster.listen(self._on_worker)
        try:
            opening = map(self._open_node, workers.values())
            # Dask's errors have no common class.
            errors = await asyncio.gather(*opening, return_exceptions=True)
            if workers and not self._links:
                raise next(error for error in errors if error is not None)
        except BaseException:
            await self.close()
            raise
        for address, error in zip(workers, errors, strict=True):
            if error is not None:
                self._leave_out(address, error)
        self._announce()
        self._has_begun = bool(self._links)
        for address in silent:
            self._wait_for_answer(address)
        # Some may have come since `workers` was asked for, when nobody listened.
        for address in {*await self._cluster.ask_workers()}.difference(workers, silent):
            self._on_worker(True, address)
        if not self._links:
            self._start(self._await_first())
        self._start(self._take_back_unstarted())
        self._start(self._watch_scheduler())

    async def close(self) -> None:
        """Close the experiment on all nodes."""
        self._cancel_tasks()
        self._demand.show(0)
        # Workers that end meanwhile have no files to wait for.
        await self._files.close(_FILES_S)
        self._cluster.unlisten(self._on_worker)
        self._cancel_tasks()  # workers may have come
        links, self._links = self._links, {}
        await asyncio.gather(*(link.close() for link in links.values()))
        self.attempts.lose_all("the experiment was closed")

    def send(self, messages: Sequence[requests.AddressedMessage]) -> None:
        """Send decisions and orders to the nodes of their attempts."""
        by_node: dict[str, list[requests.AddressedMessage]] = {}
        for message in messages:
            # An attempt that has ended meanwhile needs no decision.
            if self.attempts.is_live(message.key):
                by_node.setdefault(message.node, []).append(message)
        for address, batch in by_node.items():
            if address in self._links:
                self._links[address].send(batch)

    def on_launched(self, launch: Launch, place: TrialPlace) -> None:
        """Start to fetch the files of an attempt that has been launched."""
        for node in launch.nodes:
            self._files.attempt_launched(node, place.relative_dir, launch.checkpoint)

    def on_ended(self, launch: Launch, place: TrialPlace) -> None:
        """Fetch the last files of an attempt that has ended, and release its bundles elsewhere."""
        for node in launch.nodes:
            self._files.attempt_ended(node, place.relative_dir)
        for node in launch.nodes[1:]:
            if node in self._links:
                self._links[node].send([requests.ReleaseBundles(*launch.key)])

    def abandon(self, launch: Launch, reason: str) -> None:
        """End an attempt as lost, because a node with one of its bundles is lost."""
        self.send([requests.Abandon(*launch.key, launch.node, reason)])

    def on_dropped(self, launch: Launch, status: str) -> None:
        """Handle an attempt whose task Dask has dropped, though its process may still run."""
        # If the connection was lost, the watch has noticed and reported that by now.
        loop = asyncio.get_running_loop()
        loop.call_later(2 * _WATCH_S, self._give_up, launch, status)

    def _give_up(self, launch: Launch, status: str) -> None:
        message = f"Dask has dropped the trial's task ({status}) on {launch.node}"
        self.send([Kill(*launch.key, launch.node, message)])
        self.attempts.end(launch.key, Outcome.LOST, AttemptError("lost", message))

    def _leave_out(self, address: str, error: BaseException) -> None:
        self._left_out = str(error)
        reason = self._left_out.replace(f"the worker at {address} ", "it ", 1)
        _logger.warning("The worker at %s is left out: %s", address, reason)

    def _wait_for_answer(self, address: str) -> None:
        self._left_out = (
            f"the worker at {address} does not answer the scheduler at {self._cluster.address}: "
            "its process hangs or is stopped, or a firewall blocks its port"
        )
        _logger.warning(
            "%s. The sweep continues without it, and uses it if it answers soon.",
            self._left_out[0].upper() + self._left_out[1:],
        )
        self._on_worker(True, address)

    async def _await_first(self) -> None:
        """Fail the experiment if no worker that can run trials joins in time."""
        patience = self._wait_for_workers_s
        address = self._cluster.address
        _logger.warning(
            "The cluster at %s has no worker yet that can run trials. The sweep waits for one%s.",
            address,
            f", for {patience:g} s (PREFECT_TUNE_WAIT_FOR_WORKERS_S)" if patience else "",
        )
        if not patience:
            return
        await asyncio.sleep(patience)
        if not self._links:
            why = f" The last that came was left out: {self._left_out}" if self._left_out else ""
            self._fail(
                ClusterError(
                    f"`cluster`: the cluster at {address} has had no worker that can run trials "
                    f"for {patience:g} s.{why} Start some, e.g. `dask worker {address}`, or scale "
                    "it; PREFECT_TUNE_WAIT_FOR_WORKERS_S says how long to wait."
                )
            )

    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        """Tell the cluster how many trials wait for resources, see `Executor.show_demand`."""
        if self._cluster.alive:
            workers = [
                (link.node.with_offers().resources, link.facts.threads)
                for link in self._links.values()
            ]
            self._demand.show(tasks_for(waiting, self.attempts.requests(), workers))

    async def _open_node(self, facts: WorkerFacts) -> None:
        link = NodeLink(
            self._cluster.client.scheduler,
            facts,
            self.env,
            self._deliver,
            self._on_silence,
            self._driver,
        )
        try:
            said = await link.open()
        finally:
            self._opening.discard(facts.address)
        if not said["shared"]:
            self._files.add_node(facts.address)
        self._unseen.add_node(facts.address, said)
        resources = real_gpus(
            facts.address, facts.resources, said["visible_gpus"], said["others_gpus"]
        )
        held, obstacle = said["load"]
        link.node = Node(
            facts.address,
            resources,
            tuple(said["devices"]),
            Resources.of(**held),
            obstacle,
            Resources.of(**said["offers"]),
        )
        self._links[facts.address] = link
        link.start()

    def _deliver(self, address: str, batch: Sequence[reports.Report]) -> None:
        for report in batch:
            self._handlers[type(report)](address, report)

    def _on_uploaded(self, address: str, report: reports.CheckpointUploaded) -> None:
        self._files.confirm(report.path)
        self.attempts.handlers[type(report)](address, report)

    def _on_load(self, address: str, load: reports.WorkerLoad) -> None:
        if (link := self._links.get(address)) is not None:
            held = Resources.of(**load.held)
            link.node = replace(link.node, held=held, obstacle=load.obstacle)
            self._announce()

    def _on_warning(self, address: str, warning: reports.NodeWarning) -> None:
        if warning.text not in self._warnings:  # one line if all nodes say the same
            self._warnings.add(warning.text)
            _logger.warning("%s: %s", address, warning.text)

    def _on_leaving(self, address: str, report: reports.NodeLeaving) -> None:
        _logger.info(
            "The worker at %s is about to end (%s): its trials checkpoint and go on elsewhere.",
            address,
            report.reason,
        )
        for launch in self.attempts.with_bundles_on(address):
            self.send([requests.Leave(*launch.key, launch.node)])

    def _announce(self) -> None:
        self._emit(CapacityChanged(time.time(), self.nodes))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _on_worker(self, added: bool, address: str, retired: bool = False) -> None:
        if not added and retired and address in self._links:
            # Its trials may have checkpoints to write. It tells of them until it ends.
            self._links[address].is_retired = True
            self._on_load(address, reports.WorkerLoad({}, "it is retired"))
        elif not added:
            self._on_lost(address, "its process or its connection has ended")
        elif address not in self._links and address not in self._opening:
            self._opening.add(address)
            self._start(self._join(address))

    async def _join(self, address: str) -> None:
        """Add a new worker, or leave it out with a warning if it cannot run the experiment."""
        try:
            facts = (await self._cluster.ask_workers()).get(address)
            if facts is None:
                return
            await self._open_node(facts)
        except Exception as error:  # Dask's errors have no common class
            self._opening.discard(address)
            if address not in await self._cluster.ask_workers():  # it has gone again
                return
            self._leave_out(address, error)
            if isinstance(error, ClusterError) and not self._has_begun and not self._opening:
                # None of the workers so far can run the experiment.
                self._has_begun = True
                self._fail(error)
        else:
            self._has_begun = True
            self._announce()
        finally:
            self._opening.discard(address)

    def _on_silence(self, address: str, reason: str) -> None:
        """Handle a node that stopped serving the experiment; add it again if it still exists."""
        self._on_lost(address, reason)
        self._on_worker(True, address)

    def _on_lost(self, address: str, reason: str) -> None:
        link = self._links.pop(address, None)
        if link is None:
            return
        link.abandon()
        self._files.lose_node(address)
        self._outages.lose_node(address)
        # In this order, so that retried attempts are not sent to the lost node again.
        self._announce()
        self.attempts.lose_node(address, reason)
        for launch in self.attempts.with_bundles_on(address):
            self.abandon(launch, f"the worker at {address}, with a bundle of it, is lost: {reason}")

    async def _watch_scheduler(self) -> None:
        """Lose all attempts when the connection is lost, and add the nodes again when it is back.

        A client of Dask's has no hook for this, so it is looked at a few times a second. One that
        was lost and made again in between is not missed: it is another one.
        """
        cluster = self._cluster
        known = cluster.connection
        while not cluster.gone:
            connection = cluster.connection
            if connection is not known:
                if known is not None:
                    _logger.warning(
                        "The connection to the Dask scheduler at %s is lost, and with it the "
                        "trials that are running; trying to connect again.",
                        cluster.address,
                    )
                    self._lose_links()
                if connection is not None:
                    cluster.subscribe()
                    await install_agent(cluster.client)  # it may be a new scheduler
                    for address in await cluster.ask_workers():
                        self._on_worker(True, address)
                known = connection
            await asyncio.sleep(_WATCH_S)
        self._lose_links()
        message = f"the connection to the Dask scheduler at {self._cluster.address} is lost"
        self.attempts.lose_all(message)
        self._fail(ClusterError(f"{message}: it has ended, or cannot be reached any more."))

    def _lose_links(self) -> None:
        """Lose all nodes and their attempts; on the nodes they end when the lease expires."""
        for address in list(self._links):
            self._on_lost(address, "the connection to the scheduler is lost")

    async def _take_back_unstarted(self) -> None:
        """Ask nodes to return attempts that Dask does not start, so that they can run elsewhere."""
        while True:
            await asyncio.sleep(_START_S / 2)
            for launch, waited_s in self.attempts.unstarted(_START_S):
                declared = self.declared(launch.node)
                if declared is not None:
                    constraint = dask_constraint(launch.share(launch.node), declared)
                    back = requests.TakeBack(*launch.key, launch.node, constraint, waited_s)
                    self.send([back])
