"""Runs attempts on a Dask cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cloudpickle
import dask
from distributed import KilledWorker, get_worker, secede
from distributed.client import ClosedClientError
from distributed.comm import resolve_address
from typing_extensions import override

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, Node, Outcome
from prefect_tune.error import ClusterError
from prefect_tune.execution.base import (
    AttemptRequest,
    Backpressure,
    Emit,
    Executor,
    ExperimentEnv,
    Fail,
    TakeOutput,
    TrialPlace,
)
from prefect_tune.execution.cluster.handle import ClusterHandle
from prefect_tune.execution.driver.dask_resources import (
    check_fits,
    check_memory,
    dask_constraint,
)
from prefect_tune.execution.driver.node_pool import NodePool
from prefect_tune.execution.driver.submit import submit_body
from prefect_tune.execution.node.entry import execute_attempt, install_agent, reserve_bundles
from prefect_tune.execution.protocol.requests import (
    OFFERS,
    ExperimentNotOpen,
    task_group,
    unsendable,
)
from prefect_tune.execution.protocol.versions import ask_workers, check_scheduler
from prefect_tune.execution.trial.native_threads import VARIABLES
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources, is_offered

_NANNYS_CHILD = "Dask Worker process"
#: Dask's own warning about large configurations, which one of this package replaces.
_NO_WARNING = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
_LARGE = 5 * 2**20


def driver_thread_variables() -> dict[str, str]:
    """Return the variables for native thread pools that the user has set for the driver.

    A nanny sets these variables for its worker, in its own process. Variables that it leaves
    there, and that its worker inherits, were not set by the user.
    """
    if multiprocessing.current_process().name.startswith(_NANNYS_CHILD):
        return {}
    left_behind = {
        name: str(value)
        for name, value in dask.config.get("distributed.nanny.pre-spawn-environ", {}).items()
        if name not in _environment_at_start()
    }
    return {
        name: os.environ[name]
        for name in VARIABLES
        if name in os.environ and os.environ[name] != left_behind.get(name)
    }


def _environment_at_start() -> set[str]:
    """Return the names of the variables that this process was started with, if known."""
    try:
        content = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {entry.split(b"=", 1)[0].decode(errors="replace") for entry in content.split(b"\0")}


def secede_from_task(scheduler: str) -> None:
    """Release the thread of a surrounding Dask task on the same cluster.

    As `distributed.worker_client` does: the trials may need the worker that waits for them.

    Args:
        scheduler: Address of the cluster's scheduler.
    """
    try:
        worker = get_worker()
    except ValueError:  # not in a task
        return
    if resolve_address(worker.scheduler.address) == resolve_address(scheduler):
        with contextlib.suppress(KeyError):  # an earlier sweep of the same task has
            secede()


class DaskExecutor(Executor):
    """`Executor` that runs one experiment on a Dask cluster.

    Args:
        cluster: The cluster to run on; released by `close`.
        wait_for_workers_s: Seconds to wait for the first worker; 0 waits for ever.
    """

    def __init__(self, cluster: ClusterHandle, wait_for_workers_s: float = 0.0) -> None:
        self._cluster = cluster
        self._wait_for_workers_s = wait_for_workers_s
        self._client = cluster.client
        self._pool: NodePool | None = None
        #: Calls any function on the cluster; see `submit.submit_body`.
        self.submit_body = functools.partial(submit_body, cluster)

    @override
    def validate_request(self, resources: Resources) -> None:
        for bundle in resources.bundles:
            check_memory(bundle)
        workers = self._cluster.workers_now()
        if workers:  # otherwise the resources are not known yet
            has = {address: facts.resources for address, facts in workers.items()}
            if any(map(is_offered, resources)):
                self._client.sync(install_agent, self._client)
                scheduler = self._client.scheduler
                offers = self._client.sync(ask_workers, scheduler, has, OFFERS)
                has = {name: Resources.of(**{**(offers[name] or {}), **has[name]}) for name in has}
            check_fits(resources, has, self._cluster.in_process)

    @override
    def capacity(self) -> tuple[Node, ...]:
        return () if self._pool is None else self._pool.nodes

    @override
    def dashboard(self) -> str | None:
        return self._cluster.dashboard()

    @override
    def open(
        self,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None = None,
        output: TakeOutput | None = None,
        driver: Backpressure | None = None,
    ) -> None:
        chosen = {**driver_thread_variables(), **env.env_vars}
        env = dataclasses.replace(env, env_vars=chosen)
        secede_from_task(self._cluster.address)
        workers = self._cluster.workers_now()
        silent: set[str] = set()
        if not self._cluster.in_process:
            self._client.sync(check_scheduler, self._client)
            # An operation of Dask itself, because this package may be missing there.
            replies = self._client.sync(ask_workers, self._client.scheduler, workers, "versions")
            silent = {address for address, reply in replies.items() if reply is None}
        self._client.sync(install_agent, self._client)
        pool = NodePool(self._cluster, env, emit, fail, output, self._wait_for_workers_s, driver)
        self._client.sync(pool.open, workers, silent)
        self._pool = pool

    @override
    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            if self._cluster.alive:
                self._client.sync(pool.close)
            pool.attempts.lose_all("the connection to the cluster is lost")
        self._cluster.release()

    @override
    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        pool = self._opened()
        attempts = pool.attempts
        ended = attempts.add(launch, place.experiment_tag)
        for node in launch.nodes:
            if pool.declared(node) is None:
                self._on_loop(attempts.lose_node, node, "it was gone before the trial started")
                return ended
        try:
            config = cloudpickle.dumps(launch.config)
        except Exception as error:  # a user's object may raise anything when it is pickled
            blame = unsendable(launch.config)
            problem = f"{blame} cannot be sent to the trial ({error!r}): create it in the trainable"
            failure = AttemptError("start", problem)
            self._on_loop(attempts.end, launch.key, Outcome.FAILED, failure)
            return ended
        self._on_loop(pool.on_launched, launch, place)
        ended.add_done_callback(lambda _: self._on_loop(pool.on_ended, launch, place))
        try:
            self._submit(pool, launch, config, place)
        except ClosedClientError:  # the pool tells of it
            reason = "the connection to the scheduler is lost"
            self._on_loop(attempts.lose_node, launch.node, reason)
        return ended

    @override
    def decide(self, decisions: Sequence[Decide]) -> None:
        self._on_loop(self._opened().send, list(decisions))

    @override
    def kill(self, kills: Sequence[Kill]) -> None:
        self._on_loop(self._opened().send, list(kills))

    @override
    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        if self._pool is not None and self._cluster.can_grow:
            self._on_loop(self._pool.show_demand, waiting)

    def _opened(self) -> NodePool:
        if self._pool is None:
            raise ClusterError("No experiment is open on this executor.")
        return self._pool

    def _submit(self, pool: NodePool, launch: Launch, config: bytes, place: TrialPlace) -> None:
        """Submit an attempt to its node, and tasks that reserve its bundles to its other nodes."""
        env = pool.env
        request = AttemptRequest(env.experiment_id, dataclasses.replace(launch, config={}), place)
        pickled = pickle.dumps(request)
        group = task_group(env.trainable.name, env.experiment_id)
        # The trial's name is not unique, and Dask would take equal keys for one task.
        key = (group, launch.trial_id, str(launch.attempt))
        call: tuple[Any, ...] = (execute_attempt, key, pickled, config)
        for number, node in enumerate(launch.nodes):
            with dask.config.set(_NO_WARNING) if len(config) > _LARGE else nullcontext():
                task = self._client.submit(
                    *call,
                    key=call[1],
                    workers=[node],
                    resources=dask_constraint(launch.share(node), pool.declared(node) or {}),
                    pure=False,
                    retries=0,
                )
            pool.attempts.add_task(launch.key, task)
            task.add_done_callback(functools.partial(self._on_task_done, pool, launch, node))
            call = (reserve_bundles, (*key, str(number + 1)), pickled)

    def _on_task_done(self, pool: NodePool, launch: Launch, node: str, task: Any) -> None:
        """Handle the end of an attempt's Dask task; called in a thread of Dask.

        An attempt's end comes with its reports, behind the last of them. Only a task that failed
        has no such end.
        """
        if task.status == "finished":
            return
        if node != launch.node:
            reason = f"the worker at {node}, which had a bundle of the trial, does not hold it"
            self._on_loop(pool.abandon, launch, reason)
            return
        if task.status != "error":
            self._on_loop(pool.on_dropped, launch, task.status)
            return
        outcome, kind = Outcome.LOST, "lost"
        if isinstance(error := task.exception(), KilledWorker):
            message = f"the worker at {launch.node} died"
        elif isinstance(error, ExperimentNotOpen):
            message = f"the worker at {launch.node} does not serve the experiment any more"
        else:
            outcome, kind = Outcome.FAILED, "start"
            message = f"the trial could not be run on {launch.node}: {error!r}"
        self._on_loop(pool.attempts.end, launch.key, outcome, AttemptError(kind, message))

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        self._client.loop.add_callback(function, *args)
