"""`NodeExperiment`: runs the attempts of one experiment on one node."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import pickle
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import Worker

from prefect_tune.coordinator.commands import Kill
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import CheckpointUnreadable, StorageError, TuneError
from prefect_tune.execution.base import AttemptRequest, ExperimentEnv
from prefect_tune.execution.checkpoints.node_checkpoints import CheckpointHandoff, NodeCheckpoints
from prefect_tune.execution.files.node_directory import NodeDirectory, in_storage
from prefect_tune.execution.launch.spawner import THREAD, AttemptSpawner, DataGone
from prefect_tune.execution.node.attempt import RunningAttempt
from prefect_tune.execution.node.bundles import CallNode, NodeBundles, NodeLost, trial_variables
from prefect_tune.execution.node.gpu_allocator import GpuAllocator
from prefect_tune.execution.node.memory_guard import MemoryGuard, MemoryShare
from prefect_tune.execution.node.output_tail import OutputTail
from prefect_tune.execution.node.pending_attempt import (
    AttemptCancelled,
    EndOrDecision,
    PendingAttempt,
    ends_attempt,
)
from prefect_tune.execution.node.worker_load import LoadWatch
from prefect_tune.execution.protocol import requests
from prefect_tune.execution.protocol.reports import (
    NodeLeaving,
    NodeWarning,
    Outbox,
    ProcessEnded,
    Report,
)
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.nvml import Gpu
from prefect_tune.trainable.runtime.attempt import AttemptContext, Decision

_logger = logging.getLogger(__name__)
_LEASE_CHECKS = 4
_NO_NVML = (
    "the memory of GPUs is not watched, although PREFECT_TUNE_GPU_MEMORY_GUARD asks for it: NVML "
    "does not know them. Is nvidia-ml-py installed there?"
)
#: Seconds that uploads may take after the end of the experiment or its driver.
UPLOAD_PATIENCE_S = 60.0
#: Seconds after which an attempt gives back what it has if another node does not give the rest.
_GATHER_S = 15.0
#: Seconds that killed processes may take to end.
_END_S = 10.0


class NodeExperiment:
    """Attempts, directory and lease of one experiment on a node, for the node's event loop.

    Args:
        env: The experiment.
        directory: Directory of the trials; removed at the end if it is the node's own.
        spawner: Starts the attempts; closed at the end.
        gpus: The GPUs of the node, shared with other experiments.
        real_gpus: Those of them that NVML knows, by their ids.
        worker: The Dask worker that is the node.
        call_node: See `NodeBundles`.

    Attributes:
        bundles: What attempts with several bundles have on this node.
        checkpoints: Brings checkpoints to storage and back.
        load: Watches the load of the worker by other tasks.
    """

    def __init__(
        self,
        env: ExperimentEnv,
        directory: NodeDirectory,
        spawner: AttemptSpawner,
        gpus: GpuAllocator,
        real_gpus: Mapping[str, Gpu],
        worker: Worker,
        call_node: CallNode,
    ) -> None:
        self.env = env
        self._spawner = spawner
        self._outbox = Outbox()
        self._directory = directory
        self.checkpoints = NodeCheckpoints(env, directory, self._outbox)
        self._tail = OutputTail(self._outbox)
        # Attempts that Dask has started, and attempts that were returned before that.
        self._attempts: dict[AttemptKey, asyncio.Task[None]] = {}
        self._taken_back: set[AttemptKey] = set()
        self._running: dict[AttemptKey, RunningAttempt] = {}
        # Decisions and kills for attempts whose process has not started.
        self._pending: dict[AttemptKey, PendingAttempt] = {}
        self._leaving = ""
        self._seconds: deque[float] = deque(maxlen=8)
        self._last_contact = time.monotonic()
        self.load = LoadWatch(worker, env.experiment_id, self._outbox.put)
        limit = worker.memory_manager.memory_limit
        watched = real_gpus if env.gpu_memory_guard else {}
        self._guard = MemoryGuard(limit, watched, self._outbox.put)
        self.bundles = NodeBundles(
            env, directory, spawner, gpus, self._guard, worker.contact_address, call_node
        )
        self._watches: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    @property
    def expected_s(self) -> float:
        """Mean seconds of the last attempts; a minute before the first one has ended."""
        return sum(self._seconds) / len(self._seconds) if self._seconds else 60.0

    @property
    def closed(self) -> bool:
        """True once `close` has been called; attempts and uploads may still be ending."""
        return self._closing is not None

    async def open(self) -> None:
        """Import the trainable and start to watch lease, load and memory.

        Raises:
            TuneError: If the trainable cannot be imported.
        """
        env = self.env
        loaded = await self._spawner.load(env.trainable, env.start_method, env.isolation)
        if loaded.note is not None:
            self._outbox.put(NodeWarning(loaded.note))
        self._last_contact = time.monotonic()
        loop = asyncio.get_running_loop()
        watches = [self._watch_lease(), self.load.run()]
        if env.isolation != THREAD:
            watches.append(self._guard.run())
        if env.gpu_memory_guard and self.bundles.gpus.devices and not self._guard.gpus:
            self._outbox.put(NodeWarning(_NO_NVML))
        self._watches = [loop.create_task(watch) for watch in watches]

    async def collect(self, acknowledged: int, patience: float) -> tuple[int, list[Report]]:
        """Return the next batch of reports, and renew the lease."""
        self._last_contact = time.monotonic()
        return await self._outbox.next_batch(acknowledged, patience)

    def control(self, messages: Iterable[requests.Message]) -> None:
        """Carry out decisions and orders of the coordinator."""
        self._last_contact = time.monotonic()
        for message in messages:
            key = message.key
            attempt = self._running.get(key)
            if isinstance(message, requests.ReleaseBundles):
                self.bundles.release(key)
            elif isinstance(message, requests.Leave):
                if attempt is not None:
                    attempt.leave()
            elif isinstance(message, requests.TakeBack):
                if key in self.bundles.gathering and message.waited_s > _GATHER_S:
                    self._pending[key].cancel()
                elif key not in self._attempts and not self.load.would_start(
                    message.constraint, message.waited_s
                ):
                    self._take_back(key)
            elif attempt is not None:
                _apply(message, attempt)
            elif key not in self._attempts and ends_attempt(message):
                self._take_back(key)
            else:
                self._pending.setdefault(key, PendingAttempt()).tell(message)

    async def leave(self, reason: str) -> None:
        """Let all attempts checkpoint and end, and wait for that up to `preemption_grace_s`.

        Args:
            reason: Why this node is about to end; "" if it is not any more.
        """
        self._leaving = reason
        self.load.leave(reason)
        if not reason:
            return
        self._outbox.put(NodeLeaving(reason))
        for pending in self._pending.values():
            pending.cancel()
        running = list(self._running.values())
        for attempt in running:
            attempt.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.env.preemption_grace_s):
                if self._attempts:
                    await asyncio.wait(
                        self._attempts.values()
                    )  # does not cancel them, unlike `gather`
                await asyncio.gather(*(over.wait() for over in self.bundles.reserved_for_others))
                await asyncio.gather(*(attempt.checkpoints.wait_uploaded() for attempt in running))
                await self._outbox.wait_delivered()

    def _take_back(self, key: AttemptKey) -> None:
        """Report an attempt that Dask has not started as unstarted, and ignore a later start."""
        self._taken_back.add(key)
        self._pending.pop(key, None)
        self._outbox.put(ProcessEnded(key, Outcome.UNSTARTED))

    async def run(self, request: AttemptRequest, config: requests.PickledValue) -> None:
        """Run an attempt to its end, and report its events to the driver."""
        key = request.launch.key
        if key in self._taken_back:  # Dask starts an attempt that was returned
            self._taken_back.discard(key)
            return
        began = time.monotonic()
        attempt = self._attempts[key] = asyncio.create_task(self._run(request, config))
        attempt.add_done_callback(lambda _: self._attempts.pop(key))
        try:
            # Dask cancels it when the worker closes; then there may be a checkpoint to be written.
            await asyncio.shield(attempt)
        finally:
            self._seconds.append(time.monotonic() - began)

    async def _run(self, request: AttemptRequest, config: requests.PickledValue) -> None:
        """Reserve an attempt's GPUs and bundles, start it, and report how it has ended."""
        launch = request.launch
        pending = self._pending.setdefault(launch.key, PendingAttempt())
        try:
            try:
                if self._leaving:
                    raise AttemptCancelled
                gathering = self.bundles.gather(request)
                request = replace(request, launch=await pending.unless_cancelled(gathering))
                attempt = await self._start(request, config, pending)
            except Exception as error:
                outcome, reason = _not_started(error)
                pickled = None if reason is None else pickle.dumps(reason)
                if isinstance(error, NodeLost):
                    self._outbox.put(NodeWarning(f"{launch.name} does not start: {error}."))
                self._outbox.put(ProcessEnded(launch.key, outcome, pickled))
                if isinstance(error, DataGone):
                    self.close()  # the driver opens it anew
                return
            finally:
                del self._pending[launch.key]
            await self._finish(request, attempt, pending)
        finally:
            await self.bundles.finish(launch.key)

    async def _finish(
        self, request: AttemptRequest, attempt: RunningAttempt, pending: PendingAttempt
    ) -> None:
        """Wait for the end of an attempt whose process has started, and clean up."""
        key = request.launch.key
        self._running[key] = attempt
        # The experiment may have been closed while the process was starting.
        if self.closed:
            attempt.abandon()
        for message in pending.messages:
            _apply(message, attempt)
        if self._leaving:
            attempt.leave()
        try:
            outcome = await attempt.finish()
        finally:
            del self._running[key]
            self.checkpoints.release(request.launch.checkpoint)
            if not self.env.output_files.kept:
                for stream in self._streams(request):
                    _remove_if_empty(stream)
        if outcome in (Outcome.FINISHED, Outcome.STOPPED):
            self.checkpoints.route.drop_copies(request.place.relative_dir)

    async def _start(
        self, request: AttemptRequest, config: requests.PickledValue, pending: PendingAttempt
    ) -> RunningAttempt:
        launch = request.launch
        checkpoint = await pending.unless_cancelled(self.checkpoints.fetch(launch.checkpoint))
        key = launch.key
        try:
            directory = self._directory.path / request.place.relative_dir
            streams = self._streams(request)
            for needed in {directory, *(stream.parent for stream in streams)}:
                needed.mkdir(parents=True, exist_ok=True)
            # Threads print to the output of their worker.
            if self.env.follow_output and self.env.isolation != THREAD:
                self._tail.watch(key, directory, *streams)
            handle = await self._spawner.spawn(
                self._context(request, config, directory, checkpoint),
                *streams,
                self.env.isolation,
                self.env.reuse_processes,
                self.env.output_files.kept,
            )
        except BaseException:
            self.checkpoints.release(launch.checkpoint)
            self._tail.unwatch(key)
            raise
        self._tail.started(key, handle.pid)
        route = self.checkpoints.route
        threads = self.env.isolation == THREAD
        memory = (
            MemoryShare(handle.pid)
            if threads
            else self._guard.share(handle.pid, launch.head.resources, launch.devices)
        )
        return RunningAttempt(
            key,
            handle,
            directory,
            self._outbox,
            CheckpointHandoff(key, directory, request.place.relative_dir, route, self._outbox),
            memory,
            functools.partial(self.bundles.call, launch),
            self.env,
            functools.partial(self._on_exit, key, memory),
        )

    def _on_exit(self, key: AttemptKey, memory: MemoryShare) -> None:
        self._guard.release(memory)
        self._tail.unwatch(key)

    def _streams(self, request: AttemptRequest) -> tuple[Path, Path]:
        """Return the files of the attempt's standard output and standard error."""
        directory = self._directory.path / request.place.relative_dir
        files = self.env.output_files
        return directory / files.stdout, directory / files.stderr

    def close(self, patience: float = UPLOAD_PATIENCE_S) -> None:
        """End all attempts now, and close the experiment when uploads are done.

        Args:
            patience: Seconds to wait for uploads.
        """
        if self._closing is not None:
            return
        for watch in self._watches:
            if watch is not asyncio.current_task():
                watch.cancel()
        for pending in self._pending.values():
            pending.cancel()
        for attempt in self._running.values():
            attempt.abandon()
        self.bundles.close()
        self._spawner.close()
        self._closing = asyncio.get_running_loop().create_task(self._finish_closing(patience))
        self._outbox.wake()

    async def wait_closed(self) -> None:
        """Wait until the experiment is completely closed on this node."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _finish_closing(self, patience: float) -> None:
        if self._attempts:
            # Killed processes end soon. A thread ends at its next report, which may never come.
            await asyncio.wait(self._attempts.values(), timeout=_END_S)
        self._tail.close()
        await self._spawner.wait_closed()
        await self.checkpoints.close(patience)
        await asyncio.to_thread(self._directory.remove)

    def _context(
        self,
        request: AttemptRequest,
        config: requests.PickledValue,
        directory: Path,
        checkpoint: Path | None,
    ) -> AttemptContext:
        env, launch, place = self.env, request.launch, request.place
        shown: Any = cloudpickle.loads(config.data) if env.isolation == THREAD else config
        return AttemptContext(
            launch=replace(launch, config=shown),
            experiment_id=env.experiment_id,
            experiment_name=env.experiment_name,
            experiment_tag=place.experiment_tag,
            trial_dir=str(directory),
            checkpoint=None if checkpoint is None else str(checkpoint),
            checkpoint_uri=launch.checkpoint and in_storage(env, launch.checkpoint),
            checkpoint_rules=env.checkpoint_rules,
            seed=env.seed,
            env=trial_variables(env, launch.head.resources, launch.devices),
            export_formats=env.export_formats,
            surroundings=place.surroundings,
        )

    async def _watch_lease(self) -> None:
        """Close the experiment when the driver has been silent for longer than the lease."""
        while True:
            await asyncio.sleep(self.env.lease_s / _LEASE_CHECKS)
            silent = time.monotonic() - self._last_contact
            if silent > self.env.lease_s:
                _logger.warning(
                    "The driver of experiment %s has been silent for %.0f s; its %d trials on this "
                    "node are ended.",
                    self.env.experiment_name,
                    silent,
                    len(self._running),
                )
                self.close()
                return


def _apply(message: EndOrDecision, attempt: RunningAttempt) -> None:
    if isinstance(message, Kill):
        attempt.stop()
    elif isinstance(message, requests.Abandon):
        attempt.abandon(message.reason)
    else:
        attempt.decide(Decision(message.seq, message.action, message.run_until))


def _not_started(error: Exception) -> tuple[Outcome, AttemptError | None]:
    """Return the outcome and error of an attempt whose process could not be started.

    Raises:
        Exception: The error itself if it is unexpected.
    """
    if isinstance(error, AttemptCancelled):
        return Outcome.UNSTARTED, None
    if isinstance(error, (DataGone, NodeLost)):
        return Outcome.LOST, AttemptError("lost", str(error))
    if isinstance(error, CheckpointUnreadable):
        return Outcome.FAILED, AttemptError("restore", str(error))
    if isinstance(error, StorageError):  # not the trial's fault
        return Outcome.LOST, AttemptError("storage", str(error))
    if not isinstance(error, (TuneError, OSError, pickle.PicklingError)):
        raise error
    problem = f"the trial could not be started on {socket.gethostname()}: {error}"
    return Outcome.FAILED, AttemptError("start", problem)


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
