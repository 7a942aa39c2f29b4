"""Runs attempts on a Dask cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import dask

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptError,
    CapacityChanged,
    Node,
    Outcome,
)
from prefect_tune.error import ClusterError, InsufficientResources
from prefect_tune.execution.agent import TrialAgent
from prefect_tune.execution.base import Emit, ExperimentEnv, TrialPlace
from prefect_tune.execution.cluster_handle import ClusterHandle, WorkerFacts
from prefect_tune.execution.env import driver_thread_variables
from prefect_tune.execution.gpus import slots
from prefect_tune.execution.live_attempts import LiveAttempts
from prefect_tune.execution.node_link import NodeLink
from prefect_tune.execution.remote import execute_attempt
from prefect_tune.execution.requests import PLUGIN, AttemptRequest, Sealed, python_version
from prefect_tune.resources import GPU, MILLI, Resources, canonical_name

_logger = logging.getLogger(__name__)
# Dask adds and subtracts floats: twenty times 0.05 is more than 1. The coordinator's own sums are
# exact, so a request that it has placed must never be the one that does not fit.
_DRIFT = 1 - 1e-9


class DaskExecutor:
    """The `Executor` of a Dask cluster.

    Args:
        cluster: Where to run; released by `close`.
    """

    def __init__(self, cluster: ClusterHandle) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._workers: dict[str, WorkerFacts] = {}
        self._links: dict[str, NodeLink] = {}
        self._nodes: dict[str, Node] = {}
        self._env: ExperimentEnv | None = None
        self._emit: Emit | None = None
        self._attempts: LiveAttempts | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- capacity ---------------------------------------------------------------------------------

    def validate_request(self, resources: Resources) -> None:
        """See whether some node could ever run a trial that asks for this.

        Raises:
            InsufficientResources: If none could; says what each node has.
            ClusterError: If the cluster has no node.
        """
        workers = self._cluster.workers()
        for worker in workers.values():
            has = worker.resources
            if all(has.get_milli(name) >= amount for name, amount in resources.milli):
                return
        listed = "; ".join(
            f"{worker.address} has {worker.resources}" for worker in workers.values()
        )
        hint = ""
        if resources.get_milli(GPU) and not any(
            w.resources.get_milli(GPU) for w in workers.values()
        ):
            hint = (
                " Declare GPUs with tune.init(num_gpus=...), or start workers with "
                "`dask worker ... --resources 'GPU=2'`."
            )
        raise InsufficientResources(
            f"`resources_per_trial`: a trial asks for {resources}, which no node has: {listed}.{hint}"
        )

    def capacity(self) -> tuple[Node, ...]:
        """See `Executor.capacity`."""
        return tuple(self._nodes.values())

    def dashboard(self) -> str | None:
        """See `Executor.dashboard`."""
        return self._cluster.dashboard()

    # -- the experiment ---------------------------------------------------------------------------

    def open(self, env: ExperimentEnv, emit: Emit) -> None:
        """See `Executor.open`."""
        chosen = {**driver_thread_variables(), **env.env_vars}
        self._env = dataclasses.replace(env, env_vars=chosen)
        self._emit = emit
        self._attempts = LiveAttempts(env.experiment_id, emit)
        self._workers = self._cluster.workers()
        self._register_agent()
        self._cluster.listen(self._on_worker)
        try:
            self._client.sync(self._open_all)
        except BaseException:
            self._cluster.unlisten(self._on_worker)
            raise

    def close(self) -> None:
        """See `Executor.close`."""
        if self._closed:
            return
        self._closed = True
        if self._attempts is not None:
            self._cluster.unlisten(self._on_worker)
            if self._cluster.alive:
                self._client.sync(self._close_all)
        self._cluster.release()

    def _register_agent(self) -> None:
        try:
            self._client.register_plugin(TrialAgent(), name=PLUGIN)
        except ModuleNotFoundError as error:
            raise ClusterError(
                f"a worker of the cluster at {self._cluster.address} cannot load prefect_tune: "
                f"{error}. Install the same version of prefect_tune, with Python "
                f"{python_version()}, on every worker."
            ) from error

    async def _open_all(self) -> None:
        await asyncio.gather(*(self._open_node(facts) for facts in self._workers.values()))
        self._announce()

    async def _open_node(self, facts: WorkerFacts) -> None:
        link = NodeLink(
            self._client.scheduler, facts.address, self._env, self._deliver, self._on_node_lost
        )
        said = await link.open()
        devices = slots(facts.resources.get_milli(GPU) / MILLI, tuple(said["gpus"]))
        self._workers[facts.address] = facts
        self._links[facts.address] = link
        self._nodes[facts.address] = Node(facts.address, facts.resources, devices)
        link.start()

    async def _close_all(self) -> None:
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        self._links.clear()
        for node in list(self._nodes):
            self._attempts.lose_node(node, "the experiment was closed")

    def _announce(self) -> None:
        self._emit(CapacityChanged(time.time(), self.capacity()))

    # -- workers come and go (on the client's event loop) -----------------------------------------

    def _on_worker(self, added: bool, address: str) -> None:
        if not added:
            self._on_node_lost(address, "its process or its connection has ended")
        elif address not in self._links:
            task = asyncio.get_running_loop().create_task(self._join(address))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _join(self, address: str) -> None:
        """Take a new worker in; one that does not fit is left out, with a warning."""
        try:
            info = await self._client.scheduler.identity(n_workers=-1)
            worker = info["workers"].get(address)
            if worker is None or address in self._links:
                return
            facts = WorkerFacts(address, worker["nthreads"], dict(worker["resources"]))
            await self._open_node(facts)
        except Exception as error:
            _logger.warning("A new worker is left out: %s", error)
            return
        self._announce()

    def _on_node_lost(self, address: str, reason: str) -> None:
        link = self._links.pop(address, None)
        if link is None:
            return
        link.abandon()
        self._nodes.pop(address, None)
        self._workers.pop(address, None)
        self._attempts.lose_node(address, reason)
        self._announce()

    def _deliver(self, address: str, entries: Sequence[Any]) -> None:
        self._attempts.deliver(address, entries)

    # -- attempts ---------------------------------------------------------------------------------

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        """See `Executor.launch`."""
        ended = self._attempts.add(launch, place.experiment_tag)
        facts = self._workers.get(launch.node)
        if facts is None:
            self._on_loop(
                self._attempts.lose_node, launch.node, "it was gone before the trial started"
            )
            return ended
        request = AttemptRequest(
            experiment_id=self._env.experiment_id,
            trial_id=launch.trial_id,
            attempt=launch.attempt,
            name=launch.name,
            experiment_tag=place.experiment_tag,
            relative_dir=place.relative_dir,
            resources=dict(launch.resources),
            devices=launch.devices,
            run_until=launch.run_until,
            iteration=launch.iteration,
            checkpoint=launch.checkpoint,
        )
        # Dask keeps statistics per first part of a key for ever: one per experiment is enough.
        group = f"{self._env.trainable.name}-{self._env.experiment_id}"
        key = (group, launch.name, str(launch.attempt))
        task = self._client.submit(
            execute_attempt,
            key,
            pickle.dumps(request),
            Sealed.of(launch.config).data,
            key=key,
            workers=[launch.node],
            allow_other_workers=False,
            resources=_constraint(launch.resources, facts.declared),
            pure=False,
            retries=0,
        )
        self._attempts.hold(launch.trial_id, launch.attempt, task)
        task.add_done_callback(
            functools.partial(self._on_task_done, launch.trial_id, launch.attempt, launch.node)
        )
        return ended

    def decide(self, decisions: Sequence[Decide]) -> None:
        """See `Executor.decide`."""
        self._on_loop(self._send, list(decisions))

    def kill(self, kills: Sequence[Kill]) -> None:
        """See `Executor.kill`."""
        self._on_loop(self._send, list(kills))

    def _send(self, messages: Sequence[Decide | Kill]) -> None:
        by_node: dict[str, list[Decide | Kill]] = {}
        for message in messages:
            if self._attempts.node_of(message.trial_id, message.attempt) is not None:
                by_node.setdefault(message.node, []).append(message)
        for node, batch in by_node.items():
            link = self._links.get(node)
            if link is not None:
                link.send(batch)

    def _on_task_done(self, trial_id: str, attempt: int, node: str, task: Any) -> None:
        """The Dask task is over; called on a thread of Dask's.

        An attempt's end comes with its reports, behind the last of them. Only a task that failed
        has no such end.
        """
        if task.status == "finished":
            return
        if task.status == "error":
            error = task.exception()
            if type(error).__name__ == "KilledWorker":
                outcome, kind = Outcome.LOST, "lost"
                message = f"the worker at {node} died"
            else:
                outcome, kind = Outcome.FAILED, "start"
                message = f"the trial could not be run on {node}: {error!r}"
        else:
            outcome, kind = Outcome.LOST, "lost"
            message = f"Dask has dropped the trial's task ({task.status}) on {node}"
        self._on_loop(self._attempts.end, trial_id, attempt, outcome, AttemptError(kind, message))

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        self._client.loop.add_callback(function, *args)

    # -- other people's functions -----------------------------------------------------------------

    def submit_body(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        annotations: Mapping[str, Any] | None = None,
    ) -> Future[Any]:
        """Call a function on the cluster.

        Args:
            function: The function; pickled.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            annotations: As of `dask.annotate`: ``resources``, ``workers``, ``priority``, ...

        Returns:
            Resolves to what the function returns or raises.

        Raises:
            InsufficientResources: If no worker declares the resources asked for: Dask would wait
                for one for ever.
        """
        annotations = dict(annotations or {})
        self._check_annotated(annotations.get("resources") or {})
        call = functools.partial(function, *args, **(kwargs or {}))
        with dask.annotate(**annotations):
            task = self._client.submit(call, pure=False)

        async def result() -> Any:
            return await task

        return asyncio.run_coroutine_threadsafe(result(), self._client.loop.asyncio_loop)

    def _check_annotated(self, wanted: Mapping[str, float]) -> None:
        if not wanted:
            return
        workers = self._cluster.workers()
        for worker in workers.values():
            if all(worker.declared.get(name, 0) >= amount for name, amount in wanted.items()):
                return
        listed = "; ".join(f"{w.address} declares {w.declared}" for w in workers.values())
        raise InsufficientResources(
            f"`resources`: a task is annotated with {dict(wanted)}, which no worker declares: {listed}"
        )


def _constraint(request: Resources, declared: Mapping[str, float]) -> dict[str, float]:
    """The request in terms of the resources that the worker has declared, under its names."""
    return {
        name: request.get_milli(canonical_name(name)) / MILLI * _DRIFT
        for name in declared
        if request.get_milli(canonical_name(name))
    }
