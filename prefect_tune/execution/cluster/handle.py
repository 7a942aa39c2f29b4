"""`ClusterHandle`: a connection to a Dask cluster, which reports workers that join and leave."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import distributed.utils
from distributed import Client

from prefect_tune.error import ClusterError
from prefect_tune.resources import CPU, Resources, canonical_name

_logger = logging.getLogger(__name__)
#: Dask's topic for workers and clients that join and leave.
_CLUSTER_EVENTS = "all"


def _renew_offloading() -> None:
    """Replace Dask's offload thread after a fork.

    Dask has one such thread for the whole process, and a fork lacks its parent's threads: without a
    new one, every computation would wait for ever.
    """
    distributed.utils._offload_executor = ThreadPoolExecutor(1, "Dask-Offload")


os.register_at_fork(after_in_child=_renew_offloading)

#: Called in the client's event loop with True for a joined or False for a lost worker, its
#: address, and whether it was retired.
WorkerListener = Callable[[bool, str, bool], None]


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Address, threads and resources of a worker.

    Attributes:
        address: Address of the worker.
        declared: The resources that the worker was started with, by their names on the cluster.
        threads: Number of the worker's threads.
    """

    address: str
    threads: int
    declared: dict[str, float] = field(default_factory=dict)

    @property
    def resources(self) -> Resources:
        """Resources for attempts: the declared ones, and by default one CPU per thread."""
        declared = {canonical_name(name): amount for name, amount in self.declared.items()}
        return Resources.of(**{CPU: float(self.threads), **declared})


class ClusterHandle:
    """Connection to a cluster, shared by the experiments that run on it.

    Args:
        client: A synchronous client of this handle's own.
        on_shutdown: Closes the client, and the cluster if this process started it.
        has_dashboard: False if Dask's dashboard is known to be off.
        can_grow: False if no worker will ever be added.

    Attributes:
        address: Address of the scheduler.
        can_grow: See above.
        shared: True if it stays open for later runs when an experiment releases it.
    """

    def __init__(
        self,
        client: Client,
        on_shutdown: Callable[[], None],
        *,
        has_dashboard: bool = True,
        can_grow: bool = True,
    ) -> None:
        self.client = client
        self.can_grow = can_grow
        self.shared = False
        self._has_dashboard = has_dashboard
        self._on_shutdown: Callable[[], None] | None = on_shutdown
        self._listeners: list[WorkerListener] = []
        self.address = str(client.scheduler.address)
        self.subscribe()

    def subscribe(self) -> None:
        """Subscribe to the scheduler's events about workers, once per connection."""
        self.client.subscribe_topic(_CLUSTER_EVENTS, self._on_cluster_event)

    @property
    def in_process(self) -> bool:
        """True if the cluster's workers are threads of this process."""
        return self.address.startswith("inproc://")

    @property
    def alive(self) -> bool:
        """False once the connection is closed or lost."""
        return bool(self.client.status == "running")

    @property
    def connection(self) -> object | None:
        """Object that identifies the present connection; None while the connection is lost."""
        return self.client.scheduler_comm if self.alive else None

    @property
    def gone(self) -> bool:
        """True once the connection is closed, or lost for good."""
        return self.client.status in ("closing", "closed")

    def dashboard(self) -> str | None:
        """Return the address of Dask's dashboard; None if there is none."""
        link = self.client.dashboard_link if self._has_dashboard else None
        return None if link is None else str(link)

    def workers(self, timeout: float = 60.0) -> dict[str, WorkerFacts]:
        """Return the workers by address, and wait for the first one.

        Args:
            timeout: Seconds to wait for the first one.

        Raises:
            ClusterError: If there is no worker in time, or the scheduler does not answer.
        """
        workers = self.workers_now()
        if not workers:
            _logger.warning("The cluster at %s has no workers yet; waiting for one.", self.address)
            try:
                self.client.wait_for_workers(1, timeout)
            except TimeoutError:
                raise ClusterError(
                    f"`cluster`: the cluster at {self.address} has had no worker for "
                    f"{timeout:.0f} s. Start some, e.g. `dask worker {self.address}`, or scale it."
                ) from None
            workers = self.workers_now()
        return workers

    def workers_now(self) -> dict[str, WorkerFacts]:
        """Return the current workers by address.

        Raises:
            ClusterError: If the scheduler does not answer.
        """
        try:
            workers: dict[str, WorkerFacts] = self.client.sync(self.ask_workers)
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"`cluster`: the scheduler at {self.address} does not answer: {error}"
            ) from error
        return workers

    def listen(self, listener: WorkerListener) -> None:
        """Call `listener` for every worker that joins or leaves; in the client's event loop."""
        self._listeners.append(listener)

    def unlisten(self, listener: WorkerListener) -> None:
        """Stop calling a listener; in the client's event loop."""
        self._listeners.remove(listener)

    def release(self) -> None:
        """Shut down the connection after an experiment, unless it is kept for later runs."""
        if not self.shared:
            self.shutdown()

    def shutdown(self) -> None:
        """Close the connection, and the cluster if this process started it; may be repeated."""
        on_shutdown, self._on_shutdown = self._on_shutdown, None
        if on_shutdown is not None:
            if self.alive:
                # Otherwise the scheduler would try to tell the client that it is gone.
                self.client.unsubscribe_topic(_CLUSTER_EVENTS)
            on_shutdown()

    async def ask_workers(self) -> dict[str, WorkerFacts]:
        """Ask the scheduler for the current workers; runs in the client's event loop."""
        info = await self.client.scheduler.identity(n_workers=-1)
        return {
            address: WorkerFacts(address, worker["nthreads"], dict(worker["resources"]))
            for address, worker in info["workers"].items()
        }

    def _on_cluster_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action in ("add-worker", "remove-worker"):
            retired = bool(message.get("expected"))
            for listener in list(self._listeners):
                listener(action == "add-worker", message["worker"], retired)
