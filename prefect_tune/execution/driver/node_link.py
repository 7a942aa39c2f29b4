"""`NodeLink`: the driver's connection to the agent of one node."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.coordinator.events import Node
from prefect_tune.error import ClusterError
from prefect_tune.execution.base import Backpressure, ExperimentEnv
from prefect_tune.execution.cluster.handle import WorkerFacts
from prefect_tune.execution.protocol import requests
from prefect_tune.execution.protocol.reports import Report, decode_reports
from prefect_tune.execution.protocol.versions import needed, versions
from prefect_tune.trainable.shipping.large_data import DataParts

_logger = logging.getLogger(__name__)
_OPEN_TIMEOUT_S = 120.0
_CLOSE_TIMEOUT_S = 5.0
#: A request for reports lasts for this share of the lease, so that the next one renews it in time.
_PATIENCE_SHARE = 4
_RETRY_S = 0.2
#: Seconds within which a retired node that still lives answers over another connection.
_RETIRED_S = 5.0
_DATA_BYTES = 4 << 20
_DATA_SENDERS = 4
_DATA_TIMEOUT_S = 120.0


@dataclass(eq=False)
class NodeLink:
    """Gets reports from one node and sends it decisions, in the Dask client's event loop.

    The calls go through the scheduler: a driver can often not reach the workers themselves.

    Args:
        scheduler: The client's scheduler stub.
        facts: The worker that is the node.
        env: The experiment.
        deliver: Handles the node's reports, in order, each once.
        lost: Called once, with the reason, when the node stops serving the experiment.
        driver: Tells when the driver is behind and must not get more reports.

    Attributes:
        node: The node with its present load; set by whoever has opened the link.
        is_retired: True once the scheduler has retired the node, which ends soon.
    """

    scheduler: Any
    facts: WorkerFacts
    env: ExperimentEnv
    deliver: Callable[[str, Sequence[Report]], None]
    lost: Callable[[str, str], None]
    driver: Backpressure | None
    _messages: list[requests.Message] = field(init=False, default_factory=list)
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    node: Node = field(init=False)
    is_retired: bool = False

    @property
    def address(self) -> str:
        """Address of the node."""
        return self.facts.address

    async def open(self) -> dict[str, Any]:
        """Open the experiment on the node, and return the node's description of itself.

        Raises:
            ClusterError: If it cannot take part.
        """
        try:
            reply = await asyncio.wait_for(self._ask_to_open(), _OPEN_TIMEOUT_S)
            data = self.env.trainable.data
            if "wants_data" in reply and isinstance(data, DataParts):
                await self._send_data(data)
                reply = await asyncio.wait_for(self._ask_to_open(), _OPEN_TIMEOUT_S)
        except TimeoutError:
            raise ClusterError(
                f"the worker at {self.address} has not answered and imported the trainable within "
                f"{_OPEN_TIMEOUT_S:.0f} s"
            ) from None
        if "misfit" in reply:
            raise ClusterError(
                f"the worker at {self.address} cannot run trials: {reply['misfit']}. "
                f"Every worker needs {needed()}."
            )
        if "error" in reply:
            raise ClusterError(
                f"the worker at {self.address} cannot run this experiment: {reply['error']}"
            )
        return reply

    async def _ask_to_open(self) -> dict[str, Any]:
        message = {"op": requests.OPEN, "env": pickle.dumps(self.env), "driver": versions()}
        while True:
            reply: dict[str, Any] | None = await self.scheduler.proxy(
                worker=self.address, msg=message
            )
            if reply is not None:
                return reply
            # No answer yet: Dask is still setting up the agent of a new worker.
            await asyncio.sleep(_RETRY_S)

    async def _send_data(self, data: DataParts) -> None:
        """Send large objects of the trainable, a few pieces at a time."""
        offsets = iter(range(0, data.size, _DATA_BYTES))

        async def send() -> None:
            for offset in offsets:
                piece = await asyncio.to_thread(data.read, offset, _DATA_BYTES)
                call = self._call(requests.DATA, offset=offset, data=piece)
                reply = await asyncio.wait_for(call, _DATA_TIMEOUT_S)
                if not isinstance(reply, dict) or "error" in reply:
                    said = reply["error"] if isinstance(reply, dict) else "it does not answer"
                    raise ClusterError(
                        f"the worker at {self.address} cannot take the trainable's data: {said}"
                    )

        async with asyncio.TaskGroup() as senders:
            for _ in range(_DATA_SENDERS):
                senders.create_task(send())

    def start(self) -> None:
        """Start to collect reports and to send decisions."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._collect()), loop.create_task(self._send_messages())]
        for task in self._tasks:
            task.add_done_callback(self._on_end)

    def send(self, messages: Sequence[requests.Message]) -> None:
        """Queue messages for the node, which are sent together with others that wait."""
        self._messages += messages
        self._news.set()

    def abandon(self) -> None:
        """Stop the communication with the node."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Close the experiment on the node."""
        self.abandon()
        try:
            await asyncio.wait_for(self._call(requests.CLOSE), _CLOSE_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            _logger.info("The experiment on worker %s could not be closed: %s", self.address, error)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Count the node as lost when the collection of reports has ended for any reason."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("A report of %s could not be handled.", self.address, exc_info=error)
            self.lost(self.address, f"what it said could not be handled ({error!r})")

    async def _call(self, operation: str, **arguments: Any) -> Any:
        message = {"op": operation, "experiment_id": self.env.experiment_id, **arguments}
        return await self.scheduler.proxy(worker=self.address, msg=message)

    async def _collect(self) -> None:
        acknowledged = 0
        silent_since: float | None = None
        patience = self.env.lease_s / _PATIENCE_SHARE
        while True:
            try:
                await self._wait_for_room(patience)
                call = self._call(requests.COLLECT, acknowledged=acknowledged, patience=patience)
                # A worker that hangs keeps its connection and does not answer.
                reply = await asyncio.wait_for(call, patience + self.env.lease_s)
            except Exception as error:  # Dask may raise anything for a broken connection
                now = time.monotonic()
                silent_since = silent_since or now
                if now - silent_since > (_RETIRED_S if self.is_retired else self.env.lease_s):
                    self.lost(self.address, f"it does not answer ({error!r})")
                    return
                await asyncio.sleep(_RETRY_S)
                continue
            silent_since = None
            if reply is None or reply.get("gone"):
                self.lost(self.address, "it has ended the experiment's trials")
                return
            if reply["number"] > acknowledged:
                acknowledged = reply["number"]
                self.deliver(self.address, decode_reports(reply["reports"]))

    async def _wait_for_room(self, patience: float) -> None:
        """Wait while the driver is behind, and renew the node's lease meanwhile."""
        driver = self.driver
        while driver is not None and driver.full:
            room = asyncio.Event()
            driver.when_room(functools.partial(_set_soon, asyncio.get_running_loop(), room))
            try:
                await asyncio.wait_for(room.wait(), patience)
            except TimeoutError:
                alive = self._call(requests.CONTROL, messages=pickle.dumps([]))
                await asyncio.wait_for(alive, self.env.lease_s)

    async def _send_messages(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            messages, self._messages = self._messages, []
            try:
                await self._call(requests.CONTROL, messages=pickle.dumps(messages))
            except Exception:
                # `_collect` notices a lost node; any other node gets the messages again.
                self._messages = messages + self._messages
                self._news.set()
                await asyncio.sleep(_RETRY_S)


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of an event loop from any thread."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(event.set)
