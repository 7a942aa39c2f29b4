"""The bundles that attempts have on this node, and the functions that run in them.

An attempt with several bundles runs on one node and holds the others, here and elsewhere, until it
ends. Where they are elsewhere, a Dask task there stands for them, and its agent talks to the agents
of those nodes, over Dask's connections between workers.
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
from prefect_tune.execution.launch.handle import AttemptHandle
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.execution.node.failure_report import died, explained
from prefect_tune.execution.node.gpu_allocator import GpuAllocator
from prefect_tune.execution.protocol.frames import FrameBuffer, Kind
from prefect_tune.execution.protocol.requests import CALL, END_CALL, HELD
from prefect_tune.execution.trial.native_threads import OMP
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.attempt_key import AttemptKey
from prefect_tune.resources import CPU, GPU, Resources

_RECEIVE_BYTES = 1 << 18
#: Seconds after which another node says that it does not hold a bundle yet.
_PATIENCE_S = 5.0
#: Seconds after which one that does not even say that is lost.
_SILENCE_S = 40.0

#: Calls an operation of the agent of another node.
CallNode = Callable[..., Awaitable[Any]]


class NodeLost(Exception):
    """A node with a bundle of an attempt does not answer, or has ended the experiment."""


@dataclass(eq=False)
class _Held:
    """What an attempt has on this node.

    Attributes:
        directory: The trial's directory, below the experiment's; None until somebody holds them.
        slots: Its bundles, by their place in the request, with the devices that they got.
        ready: Set when it has all of them.
        over: Set when the attempt has ended.
        processes: Functions that run in them, by their number.
        ended: Numbers of those that the trial has ended.
    """

    directory: str | None = None
    slots: dict[int, Slot] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    processes: dict[int, AttemptHandle] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def end(self) -> None:
        """The attempt has ended."""
        self.over.set()
        for number in self.processes:
            self.end_process(number)

    def end_process(self, number: int) -> None:
        """Kill a function's process."""
        self.ended.add(number)
        if number in self.processes:
            self.processes[number].kill_group(signal.SIGKILL)


class NodeBundles:
    """Those of one experiment on one node. Belongs to the event loop of the node.

    Args:
        env: The experiment.
        directory: Where its trials work.
        spawner: Starts processes.
        gpus: The GPUs of the node.
        address: Address of the node.
        call_node: Calls an operation of any node's agent: its address, the operation, and
            arguments by name.
    """

    def __init__(
        self,
        env: ExperimentEnv,
        directory: NodeDirectory,
        spawner: AttemptSpawner,
        gpus: GpuAllocator,
        address: str,
        call_node: CallNode,
    ) -> None:
        self._env = env
        self._directory = directory
        self._spawner = spawner
        self._gpus = gpus
        self._call_node = call_node
        self._address = address
        self._held: dict[AttemptKey, _Held] = {}
        #: Attempts that wait for bundles on other nodes.
        self.gathering: set[AttemptKey] = set()

    # -- holding them -----------------------------------------------------------------------------

    async def hold(self, request: AttemptRequest) -> None:
        """Hold the bundles on this node of an attempt that runs on another one, until it ends."""
        held = self._begin(request)
        try:
            await self._acquire(request.launch, held)
            await held.over.wait()
        finally:
            await self.finish(request.launch.key)

    def release(self, key: AttemptKey) -> None:
        """An attempt that runs on another node has ended."""
        held = self._held.setdefault(key, _Held())
        held.end()  # if Dask has not started what holds them, that ends at once

    def close(self) -> None:
        """All attempts have ended."""
        for held in self._held.values():
            held.end()

    async def finish(self, key: AttemptKey) -> None:
        """An attempt has ended; nobody asks for it any more."""
        held = self._held.pop(key, None)
        if held is None:
            return
        held.end()
        for number, slot in held.slots.items():
            if number:  # the first is the attempt's own
                await self._gpus.release(slot.devices, slot.resources.get(GPU, 0.0))

    async def gather(self, request: AttemptRequest) -> Launch:
        """Hold the bundles here of an attempt that runs here, and wait until all are held.

        Returns:
            The attempt with the devices that they got.

        Raises:
            NodeLost: If a node cannot be asked.
        """
        launch = request.launch
        held = self._begin(request)
        held.slots[0] = launch.head
        if not launch.others:
            return launch
        self.gathering.add(launch.key)
        try:
            await self._acquire(launch, held)
            devices: dict[int, tuple[str, ...]] = {}
            for node in launch.nodes:
                reply: dict[str, Any] = {}
                while "devices" not in reply:
                    reply = await asyncio.wait_for(self._ask(node, launch, HELD), _SILENCE_S)
                devices |= {number: tuple(ids) for number, ids in reply["devices"]}
        except TimeoutError:
            raise NodeLost(
                f"the worker at {node} does not answer the one at {launch.node}"
            ) from None
        finally:
            self.gathering.discard(launch.key)
        others = [replace(s, devices=devices[n]) for n, s in enumerate(launch.others, start=1)]
        return replace(launch, others=tuple(others))

    async def held(self, key: AttemptKey) -> dict[str, Any]:
        """The devices of an attempt's bundles on this node, if it has them all by and by."""
        held = self._held.setdefault(key, _Held())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.ready.wait(), _PATIENCE_S)
            return {"devices": [(number, slot.devices) for number, slot in held.slots.items()]}
        return {}

    def _begin(self, request: AttemptRequest) -> _Held:
        held = self._held.setdefault(request.launch.key, _Held())
        held.directory = request.place.relative_dir
        return held

    async def _acquire(self, launch: Launch, held: _Held) -> None:
        for number, slot in enumerate(launch.others, start=1):
            if slot.node == self._address:
                gpu = slot.resources.get(GPU, 0.0)
                acquiring = asyncio.create_task(self._gpus.acquire(slot.devices, gpu))
                over = asyncio.create_task(held.over.wait())
                try:
                    await asyncio.wait({acquiring, over}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    over.cancel()
                    if not acquiring.done():
                        acquiring.cancel()
                if held.over.is_set() and not acquiring.done():
                    return
                held.slots[number] = replace(slot, devices=acquiring.result())
        held.ready.set()

    # -- functions in them ------------------------------------------------------------------------

    async def call(self, launch: Launch, kind: int, number: int, payload: bytes) -> bytes:
        """Run a function in a bundle of an attempt that runs here, or end it, wherever that is.

        Args:
            launch: The attempt.
            kind: ``CALL`` or ``END_CALL``.
            number: Number of the call.
            payload: That of the frame.

        Returns:
            The payload of the CALL_ENDED frame, empty if none is due.

        Raises:
            NodeLost: If the bundle's node is gone.
        """
        place, _, call = payload.partition(b"\n")
        bundle = int(place)
        node = launch.others[bundle - 1].node if bundle else launch.node
        if kind == Kind.END_CALL:
            await self._ask(node, launch, END_CALL, number=number)
            return b""
        asking = self._ask(node, launch, CALL, bundle=bundle, number=number, call=call)
        return bytes((await asking)["ended"])

    async def run(self, key: AttemptKey, bundle: int, number: int, call: bytes) -> dict[str, Any]:
        """Run a function in a bundle on this node."""
        held = self._held.get(key)
        if held is None or held.directory is None or held.over.is_set():
            return {"ended": _failed("lost", "the trial has ended")}
        directory = self._directory.path / held.directory
        stdout, stderr = (directory / f"worker_{bundle}_{name}" for name in ("stdout", "stderr"))
        slot = held.slots[bundle]
        env = trial_variables(self._env, slot.resources, slot.devices)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle = await self._spawner.spawn_call(call, env, stdout, stderr, key.trial_id)
        except (ClusterError, OSError) as error:
            return {"ended": _failed("start", str(error))}
        held.processes[number] = handle
        if held.over.is_set() or number in held.ended:
            held.end_process(number)
        try:
            ended = await _last_words(handle)
            status = await handle.wait()
        finally:
            del held.processes[number]
            handle.release(usable=False)
        if ended is None and number in held.ended:
            ended = _failed("ended", "it was ended by the trial, or with it")
        if ended is None:
            problem = explained(died(status), directory, handle.stderr_tail())
            ended = b"0" + pickle.dumps(problem)
        return {"ended": ended}

    def end(self, key: AttemptKey, number: int) -> dict[str, Any]:
        """End a function that runs on this node."""
        if key in self._held:
            self._held[key].end_process(number)
        return {}

    async def _ask(self, node: str, launch: Launch, operation: str, **arguments: Any) -> Any:
        """Ask the agent of one of the attempt's nodes, maybe this one.

        Raises:
            NodeLost: If it cannot be reached, or does not serve the experiment any more.
        """
        arguments["attempt"] = (launch.trial_id, launch.attempt)
        try:
            reply = await self._call_node(
                node, operation, experiment_id=self._env.experiment_id, **arguments
            )
        except OSError as error:
            raise NodeLost(
                f"the worker at {launch.node} cannot reach the one at {node}, which has a bundle "
                f"of the trial: {error}"
            ) from error
        if reply is None or "gone" in reply:
            raise NodeLost(f"the worker at {node}, which had a bundle of the trial, is lost")
        return reply


def trial_variables(
    env: ExperimentEnv, resources: Resources, devices: tuple[str, ...]
) -> dict[str, str]:
    """Environment variables of a process that has these resources."""
    threads = max(1, math.ceil(resources.get(CPU, 1)))
    # Without a GPU it sees none.
    return {OMP: str(threads), "CUDA_VISIBLE_DEVICES": ",".join(devices), **env.env_vars}


def _failed(kind: str, message: str) -> bytes:
    return b"0" + pickle.dumps(AttemptError(kind, message))


async def _last_words(handle: AttemptHandle) -> bytes | None:
    """The payload of CALL_ENDED, from what a function's process sends; None if it says nothing."""
    buffer, ended = FrameBuffer(), None
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # as good as the end of the stream
        while data := await loop.sock_recv(handle.sock, _RECEIVE_BYTES):
            for frame in buffer.feed(data):
                if frame.kind in (Kind.RETURNED, Kind.FAILED):
                    ended = (b"1" if frame.kind == Kind.RETURNED else b"0") + frame.payload
    return ended
