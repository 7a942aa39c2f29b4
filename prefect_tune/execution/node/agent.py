"""`TrialAgent`: runs attempts of experiments in a Dask worker."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from distributed import Worker
from distributed.system import MEMORY_LIMIT

from prefect_tune.error import StorageError, TuneError
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.cluster.gpus import made_up_devices, model_label, visible_devices
from prefect_tune.execution.files.node_directory import NodeDirectory
from prefect_tune.execution.files.node_files import NodeFiles, file_handlers
from prefect_tune.execution.launch.helper_process import claim_zygote
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.execution.node.experiment import NodeExperiment
from prefect_tune.execution.node.gpu_allocator import GpuAllocator, GpuClaims
from prefect_tune.execution.node.sigterm import LeavingAtSigterm
from prefect_tune.execution.protocol import requests
from prefect_tune.execution.protocol.reports import encode_reports
from prefect_tune.execution.protocol.versions import mismatch, versions
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.resources import GPU, MEMORY, canonical_name
from prefect_tune.trainable.shipping.large_data import DataFile
from prefect_tune.trainable.shipping.local_modules import import_places

#: Seconds that the worker's end may be delayed by the end of experiments.
_TEARDOWN_S = 5.0
#: Seconds within which a worker has to accept the connection of another one.
_CONNECT_S = 8.0

_Reply = dict[str, Any]


class TrialAgent:
    """Runs the experiments of any number of drivers on one Dask worker.

    Args:
        worker: The worker, to which the agent adds its handlers.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._experiments: dict[str, NodeExperiment] = {}
        #: Files for large objects of trainables that are being received, by experiment.
        self._arriving: dict[str, DataFile] = {}
        declared = sum(
            amount
            for name, amount in worker.state.total_resources.items()
            if canonical_name(name) == GPU
        )
        visible = visible_devices()
        self._claims = GpuClaims(worker.scheduler.address)
        # For tests, declared GPUs get made-up ids if there are no GPUs.
        devices = made_up_devices() if declared and not visible else visible
        own = self._claims.claim(devices, declared)
        self._gpus = GpuAllocator(tuple(device.id for device in own))
        self._real_gpus = {device.id: device.gpu for device in own if device.gpu is not None}
        memory = worker.memory_manager.memory_limit or MEMORY_LIMIT
        self._offers = {MEMORY: float(memory), **model_label(own)}
        #: What `open` tells of this node for all experiments.
        self._description = {
            "devices": self._gpus.devices,
            "visible_gpus": len(visible),
            "others_gpus": len(visible) - len(own) if len(own) < declared else 0,
            "offers": self._offers,
            "hostname": socket.gethostname(),
        }
        self._handlers: dict[str, Callable[..., Any]] = {
            requests.OPEN: self.open,
            requests.COLLECT: self._for_open(_collect),
            requests.CONTROL: self._for_open(_control),
            requests.CLOSE: self.close,
            requests.DATA: self.write_data,
            # What agents of other nodes ask for.
            requests.RESERVED: self._for_open(_reserved),
            requests.CALL: self._for_open(_call),
            requests.END_CALL: self.end_call,
            requests.LEAVE: self.leave,
            # What this worker has without declaring it: memory, and the model of its GPUs.
            requests.OFFERS: lambda: self._offers,
            **file_handlers(self._files),
        }
        worker.handlers.update(self._handlers)
        self._leaving: asyncio.Future[Any] | None = None
        self._task: asyncio.Future[Any] | None = None  # kept, or it could be collected
        self._signals = LeavingAtSigterm(self.leave)
        retire = worker.stream_handlers["worker-status-change"]
        worker.stream_handlers["worker-status-change"] = functools.partial(self._on_status, retire)

    async def teardown(self, worker: Worker) -> None:
        """End all experiments, because the worker closes."""
        self._signals.close()
        if self._leaving is not None:  # the driver collects the last reports meanwhile
            await asyncio.shield(self._leaving)
        for name in self._handlers:
            worker.handlers.pop(name, None)
        self._claims.release()
        for experiment in self._experiments.values():
            experiment.close(patience=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TEARDOWN_S):
                await asyncio.gather(*(e.wait_closed() for e in self._experiments.values()))

    async def leave(self, reason: str = "its worker is told to end") -> None:
        """Let all attempts checkpoint and end before the worker does, and wait for that."""
        if self._leaving is None or self._leaving.done():
            self._leaving = self._have_all_leave(reason)
        await asyncio.shield(self._leaving)

    def _on_status(self, change: Callable[..., None], status: str, **arguments: Any) -> None:
        """Handle a change of the worker's status: the scheduler retires it, or keeps it after all.

        Args:
            change: Dask's own handler.
            status: The new status.
            **arguments: Further arguments of the message.
        """
        change(status=status, **arguments)
        if status == "closing_gracefully":
            self._task = asyncio.ensure_future(self.leave("its worker is retired"))
        elif status == "running" and self._leaving is not None:
            self._leaving = None
            self._task = self._have_all_leave("")

    def _have_all_leave(self, reason: str) -> asyncio.Future[Any]:
        return asyncio.gather(*(e.leave(reason) for e in self._experiments.values()))

    async def open(self, env: bytes, driver: dict[str, str]) -> dict[str, Any]:
        """Prepare this node for an experiment.

        Args:
            env: The pickled `ExperimentEnv`.
            driver: The driver's `versions`.

        Returns:
            A description of the node; or ``{"misfit": text}`` if its versions differ; or
            ``{"error": text}``, because an exception would be logged by the scheduler; or
            ``{"wants_data": True}`` to ask for `write_data` calls and then another `open`.
        """
        problem = mismatch(versions(), driver)
        if problem:
            return {"misfit": problem}
        loaded: ExperimentEnv = pickle.loads(env)
        data = loaded.trainable.data
        if isinstance(data, DataFile):
            arrived = self._arriving.pop(loaded.experiment_id, None)
            if arrived is None:
                try:
                    self._arriving[loaded.experiment_id] = data.create()
                except StorageError as error:
                    return {"error": str(error)}
                return {"wants_data": True}
            loaded = replace(loaded, trainable=replace(loaded.trainable, data=arrived))
        try:
            directory = NodeDirectory(loaded)
        except OSError as error:
            return {"error": f"there is no place for files of trials: {error}"}
        experiment = NodeExperiment(
            loaded,
            directory,
            AttemptSpawner(claim_zygote()),
            self._gpus,
            self._real_gpus,
            self._worker,
            self._call_node,
        )
        try:
            await experiment.open()
        except (TuneError, OSError) as error:
            experiment.close()
            return {"error": str(error)}
        # A driver that opens an experiment again has given up its attempts on this node.
        earlier = self._experiments.pop(loaded.experiment_id, None)
        if earlier is not None:
            earlier.close()
        self._experiments[loaded.experiment_id] = experiment
        return {
            **self._description,
            "places": import_places(),
            "shared": experiment.checkpoints.files is None,
            "load": (experiment.load.reported.held, experiment.load.reported.obstacle),
        }

    async def write_data(self, experiment_id: str, offset: int, data: bytes) -> dict[str, Any]:
        """Receive a part of a trainable's large objects; ``{"error": text}`` if it fails."""
        try:
            await asyncio.to_thread(self._arriving[experiment_id].write, offset, data)
        except (KeyError, StorageError) as error:
            return {"error": str(error)}
        return {}

    async def close(self, experiment_id: str) -> None:
        """End an experiment's remaining attempts, and close the experiment."""
        experiment = self._experiments.pop(experiment_id, None)
        if experiment is not None:
            experiment.close()
            await experiment.wait_closed()

    def experiment(self, experiment_id: str) -> NodeExperiment:
        """Return an open experiment.

        Raises:
            ExperimentNotOpen: If it is not open here.
        """
        experiment = self._open_experiment(experiment_id)
        if experiment is None:
            raise requests.ExperimentNotOpen(experiment_id)
        return experiment

    def _for_open(self, work: Callable[..., Awaitable[_Reply]]) -> Callable[..., Any]:
        """Return a handler that answers ``{"gone": True}`` if the experiment is not open."""

        async def handle(experiment_id: str, **arguments: Any) -> _Reply:
            experiment = self._open_experiment(experiment_id)
            return {"gone": True} if experiment is None else await work(experiment, **arguments)

        return handle

    def end_call(self, experiment_id: str, attempt: tuple[str, int], number: int) -> dict[str, Any]:
        """End a function in a bundle, see `NodeBundles.end`."""
        experiment = self._open_experiment(experiment_id)
        if experiment is None:
            return {}
        return experiment.bundles.end(AttemptKey._make(attempt), number)

    async def _call_node(self, address: str, operation: str, **arguments: Any) -> Any:
        """Call an operation of the agent at this address."""
        if address != self._worker.contact_address:
            # By itself, Dask takes longer than an attempt may wait for its bundles.
            connections = self._worker.rpc
            connections.reuse(address, await connections.connect(address, _CONNECT_S))
            return await getattr(connections(address), operation)(**arguments)
        reply = self._handlers[operation](**arguments)
        return await reply if asyncio.iscoroutine(reply) else reply

    def _files(self, experiment_id: str) -> NodeFiles | None:
        experiment = self._open_experiment(experiment_id)
        return None if experiment is None else experiment.checkpoints.files

    def _open_experiment(self, experiment_id: str) -> NodeExperiment | None:
        experiment = self._experiments.get(experiment_id)
        if experiment is not None and experiment.closed:  # its lease has run out
            del self._experiments[experiment_id]
            return None
        return experiment


async def _collect(experiment: NodeExperiment, acknowledged: int, patience: float) -> _Reply:
    """Return the next batch of reports."""
    number, reports = await experiment.collect(acknowledged, patience)
    return {"number": number, "reports": encode_reports(reports)}


async def _control(experiment: NodeExperiment, messages: bytes) -> _Reply:
    """Carry out pickled `Decide` and `Kill` commands."""
    experiment.control(pickle.loads(messages))
    return {}


async def _reserved(experiment: NodeExperiment, attempt: tuple[str, int]) -> _Reply:
    return await experiment.bundles.reserved(AttemptKey._make(attempt))


async def _call(experiment: NodeExperiment, attempt: tuple[str, int], **arguments: Any) -> _Reply:
    return await experiment.bundles.run(AttemptKey._make(attempt), **arguments)
