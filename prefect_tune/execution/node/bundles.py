"""`NodeBundles`: reserves the bundles of attempts on this node, and runs functions in them.

An attempt with several bundles runs on one node and reserves the others, here and elsewhere, until
it ends. For bundles on another node a Dask task there has the resources, and this agent calls the
agent of that node, over Dask's connections between workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import pickle
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.error import ClusterError
from prefect_tune.execution.base import AttemptRequest, ExperimentEnv
from prefect_tune.execution.files.node_directory import NodeDirectory
from prefect_tune.execution.launch.handle import AttemptHandle, exit_error
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.execution.node.gpu_allocator import GpuAllocator
from prefect_tune.execution.node.memory_guard import MemoryGuard
from prefect_tune.execution.node.pending_attempt import AttemptCancelled, unless_set
from prefect_tune.execution.protocol.frames import RECEIVE_BYTES, FrameBuffer, FrameKind
from prefect_tune.execution.protocol.requests import CALL, END_CALL, RESERVED
from prefect_tune.execution.trial.native_threads import OMP
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.resources import CPU, Resources
from prefect_tune.trainable.runtime.environment import device_variables

#: Seconds after which another node answers that the bundles are not reserved yet.
_PATIENCE_S = 5.0
#: Seconds after which a node that does not answer counts as lost.
_SILENCE_S = 40.0

#: Calls an operation of the agent of another node.
CallNode = Callable[..., Awaitable[Any]]


class NodeLost(Exception):
    """Error for a node that has a bundle but does not answer, or has closed the experiment."""


@dataclass(eq=False)
class _AttemptBundles:
    """Bundles of an attempt on this node, and the functions that run in them.

    Attributes:
        directory: The trial's directory, below the experiment's; None until a task reserves them.
        slots: The attempt's bundles by their place in the request, with their devices.
        ready: Set when all bundles are reserved.
        over: Set when the attempt has ended.
        processes: Processes of running functions, by the number of the call.
        ended: Numbers of calls that the trial has ended.
    """

    directory: str | None = None
    slots: dict[int, Slot] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    processes: dict[int, AttemptHandle] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def end(self) -> None:
        """Note the end of the attempt, and kill its functions."""
        self.over.set()
        for number in self.processes:
            self.end_process(number)

    def end_process(self, number: int) -> None:
        """Kill the process of a function."""
        self.ended.add(number)
        if number in self.processes:
            self.processes[number].kill_group(signal.SIGKILL)


@dataclass(eq=False)
class NodeBundles:
    """Bundles of one experiment's attempts on one node, for the node's event loop.

    Args:
        env: The experiment.
        directory: Where its trials work.
        spawner: Starts processes.
        gpus: The GPUs of the node.
        guard: Ends functions that use more memory than their bundle has.
        address: Address of the node.
        call_node: Calls an operation of any node's agent: its address, the operation, and
            arguments by name.
    """

    env: ExperimentEnv
    directory: NodeDirectory
    spawner: AttemptSpawner
    gpus: GpuAllocator
    guard: MemoryGuard
    address: str
    call_node: CallNode
    _bundles: dict[AttemptKey, _AttemptBundles] = field(init=False, default_factory=dict)
    #: Attempts that wait for bundles on other nodes.
    gathering: set[AttemptKey] = field(init=False, default_factory=set)

    # -- reserving them ---------------------------------------------------------------------------

    async def reserve(self, request: AttemptRequest) -> None:
        """Reserve the bundles on this node of an attempt of another node, until it ends."""
        bundles = self._begin(request)
        try:
            with contextlib.suppress(AttemptCancelled):
                await unless_set(bundles.over, self._acquire(request.launch, bundles))
            await bundles.over.wait()
        finally:
            await self.finish(request.launch.key)

    @property
    def reserved_for_others(self) -> list[asyncio.Event]:
        """Events that are set at the ends of attempts of other nodes which have bundles here."""
        return [
            bundles.over
            for bundles in self._bundles.values()
            if bundles.slots and 0 not in bundles.slots
        ]

    def release(self, key: AttemptKey) -> None:
        """Release the bundles of an attempt that ran on another node."""
        bundles = self._bundles.setdefault(key, _AttemptBundles())
        bundles.end()  # if Dask has not started their task, it ends at once

    def close(self) -> None:
        """Release the bundles of all attempts."""
        for bundles in self._bundles.values():
            bundles.end()

    async def finish(self, key: AttemptKey) -> None:
        """Release the bundles and devices of an attempt that has ended, and remove it."""
        bundles = self._bundles.pop(key, None)
        if bundles is None:
            return
        bundles.end()
        for slot in bundles.slots.values():
            await self.gpus.release(slot)

    async def gather(self, request: AttemptRequest) -> Launch:
        """Reserve the bundles on this node of an attempt that runs here, and wait for the others.

        Returns:
            The attempt with the devices of its bundles.

        Raises:
            NodeLost: If a node does not answer.
        """
        launch = request.launch
        bundles = self._begin(request)
        head = bundles.slots[0] = await self.gpus.acquire(launch.head)
        launch = replace(launch, devices=head.devices)
        if not launch.others:
            return launch
        self.gathering.add(launch.key)
        try:
            await self._acquire(launch, bundles)
            devices: dict[int, tuple[str, ...]] = {}
            for node in launch.nodes:
                reply: dict[str, Any] = {}
                while "devices" not in reply:
                    reply = await asyncio.wait_for(self._ask(node, launch, RESERVED), _SILENCE_S)
                devices |= {number: tuple(ids) for number, ids in reply["devices"]}
        except TimeoutError:
            raise NodeLost(
                f"the worker at {node} does not answer the one at {launch.node}"
            ) from None
        finally:
            self.gathering.discard(launch.key)
        others = [replace(s, devices=devices[n]) for n, s in enumerate(launch.others, start=1)]
        return replace(launch, others=tuple(others))

    async def reserved(self, key: AttemptKey) -> dict[str, Any]:
        """Return the devices of an attempt's bundles on this node; {} until all are reserved."""
        bundles = self._bundles.setdefault(key, _AttemptBundles())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bundles.ready.wait(), _PATIENCE_S)
            return {"devices": [(number, slot.devices) for number, slot in bundles.slots.items()]}
        return {}

    def _begin(self, request: AttemptRequest) -> _AttemptBundles:
        bundles = self._bundles.setdefault(request.launch.key, _AttemptBundles())
        bundles.directory = request.place.relative_dir
        return bundles

    async def _acquire(self, launch: Launch, bundles: _AttemptBundles) -> None:
        for number, slot in enumerate(launch.others, start=1):
            if slot.node == self.address:
                bundles.slots[number] = await self.gpus.acquire(slot)
        bundles.ready.set()

    # -- functions in them ------------------------------------------------------------------------

    async def call(self, launch: Launch, kind: int, number: int, payload: bytes) -> bytes:
        """Run or end a function in a bundle, on any node, of an attempt that runs on this node.

        Args:
            launch: The attempt.
            kind: ``CALL`` or ``END_CALL``.
            number: Number of the call.
            payload: Payload of the frame.

        Returns:
            The payload of the CALL_ENDED frame, empty for END_CALL.

        Raises:
            NodeLost: If the bundle's node is lost.
        """
        place, _, call = payload.partition(b"\n")
        bundle = int(place)
        node = launch.others[bundle - 1].node if bundle else launch.node
        if kind == FrameKind.END_CALL:
            await self._ask(node, launch, END_CALL, number=number)
            return b""
        asking = self._ask(node, launch, CALL, bundle=bundle, number=number, call=call)
        return bytes((await asking)["ended"])

    async def run(self, key: AttemptKey, bundle: int, number: int, call: bytes) -> dict[str, Any]:
        """Run a function in a bundle on this node, and return its outcome."""
        bundles = self._bundles.get(key)
        if bundles is None or bundles.directory is None or bundles.over.is_set():
            return {"ended": _failed("lost", "the trial has ended")}
        directory = self.directory.path / bundles.directory
        stdout, stderr = (directory / f"worker_{bundle}_{name}" for name in ("stdout", "stderr"))
        slot = bundles.slots[bundle]
        env = trial_variables(self.env, slot.resources, slot.devices)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle = await self.spawner.spawn_call(call, env, stdout, stderr, key.trial_id)
        except (ClusterError, OSError) as error:
            return {"ended": _failed("start", str(error))}
        bundles.processes[number] = handle
        memory = self.guard.share(handle.pid, slot.resources, slot.devices)
        excess: list[AttemptError] = []

        def end(error: AttemptError) -> None:
            excess.append(error)
            bundles.end_process(number)

        memory.end = end
        if bundles.over.is_set() or number in bundles.ended:
            bundles.end_process(number)
        try:
            ended = await _read_outcome(handle)
            code = await handle.wait()
        finally:
            del bundles.processes[number]
            handle.release(usable=False)
            excess += filter(None, [memory.overflow()])
            self.guard.release(memory)
        if ended is None and number in bundles.ended and not excess:
            ended = _failed("ended", "it was ended by the trial, or with it")
        if ended is None:
            cause = excess[0] if excess else exit_error(code)
            problem = handle.add_details(cause, directory)
            ended = b"0" + pickle.dumps(problem)
        return {"ended": ended}

    def end(self, key: AttemptKey, number: int) -> dict[str, Any]:
        """Kill a function that runs on this node."""
        if key in self._bundles:
            self._bundles[key].end_process(number)
        return {}

    async def _ask(self, node: str, launch: Launch, operation: str, **arguments: Any) -> Any:
        """Call an operation of the agent on one of the attempt's nodes, maybe this one.

        Raises:
            NodeLost: If the node cannot be reached, or has closed the experiment.
        """
        arguments["attempt"] = (launch.trial_id, launch.attempt)
        try:
            reply = await self.call_node(
                node, operation, experiment_id=self.env.experiment_id, **arguments
            )
        except OSError as error:
            raise NodeLost(
                f"the worker at {self.address} cannot reach the one at {node}, which has a bundle "
                f"of {launch.name}: {error}. A firewall between their hosts has to let Dask "
                "workers connect to each other"
            ) from error
        if reply is None or "gone" in reply:
            raise NodeLost(f"the worker at {node}, which had a bundle of the trial, is lost")
        return reply


def trial_variables(
    env: ExperimentEnv, resources: Resources, devices: tuple[str, ...]
) -> dict[str, str]:
    """Return the environment variables for a process with these resources."""
    threads = max(1, math.ceil(resources.get(CPU, 1)))
    # A process without GPUs must not use any.
    return {OMP: str(threads), **device_variables(devices), **env.env_vars}


def _failed(kind: str, message: str) -> bytes:
    return b"0" + pickle.dumps(AttemptError(kind, message))


async def _read_outcome(handle: AttemptHandle) -> bytes | None:
    """Read the outcome of a function from its process's frames; None if it sent none."""
    buffer, ended = FrameBuffer(), None
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # as good as the end of the stream
        while data := await loop.sock_recv(handle.sock, RECEIVE_BYTES):
            for frame in buffer.feed(data):
                if frame.kind in (FrameKind.RETURNED, FrameKind.FAILED):
                    ended = (b"1" if frame.kind == FrameKind.RETURNED else b"0") + frame.payload
    return ended
