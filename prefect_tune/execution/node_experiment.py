"""One experiment on one node: its attempts, its directory, its lease."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import pickle
import socket
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import TuneError
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.devices import DeviceLedger
from prefect_tune.execution.env import attempt_environment
from prefect_tune.execution.reports import Entry, Outbox
from prefect_tune.execution.requests import AttemptRequest, Sealed
from prefect_tune.execution.running_attempt import RunningAttempt
from prefect_tune.execution.spawn import THREAD, AttemptSpawner
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.resources import GPU
from prefect_tune.storage.experiment_dir import MARKER_FILE
from prefect_tune.trainable.attempt import AttemptContext, Decision

_logger = logging.getLogger(__name__)
_LEASE_CHECKS = 4
_Key = tuple[str, int]


class NodeExperiment:
    """Belongs to the event loop of the node.

    Args:
        env: The experiment.
        spawner: Starts its attempts; closed with this object.
        devices: The GPUs of the node, shared with other experiments.
    """

    def __init__(self, env: ExperimentEnv, spawner: AttemptSpawner, devices: DeviceLedger) -> None:
        self.env = env
        self._spawner = spawner
        self._devices = devices
        self._outbox = Outbox()
        self._directory = _experiment_directory(env)
        self._running: dict[_Key, RunningAttempt] = {}
        # Decisions and kills that came before the process they are for.
        self._early: dict[_Key, list[Decide | Kill]] = {}
        self._last_contact = time.monotonic()
        self._lease: asyncio.Task[None] | None = None
        self.closed = False

    async def open(self) -> None:
        """Import the trainable.

        Raises:
            TuneError: If that fails.
        """
        env = self.env
        await self._spawner.load(env.trainable, env.start_method, env.isolation)
        self._last_contact = time.monotonic()
        self._lease = asyncio.get_running_loop().create_task(self._watch_lease())

    async def collect(self, acknowledged: int, patience: float) -> tuple[int, list[Entry]]:
        """See `Outbox.take`; also renews the lease."""
        self._last_contact = time.monotonic()
        return await self._outbox.take(acknowledged, patience)

    def control(self, messages: Iterable[Decide | Kill]) -> None:
        """Carry out what the coordinator has decided."""
        self._last_contact = time.monotonic()
        for message in messages:
            key = (message.trial_id, message.attempt)
            attempt = self._running.get(key)
            if attempt is None:
                self._early.setdefault(key, []).append(message)
            else:
                _apply(message, attempt)

    async def run(self, request: AttemptRequest, config: Sealed) -> None:
        """Run an attempt to its end; everything there is to know about it goes to the driver."""
        gpu = request.resources.get(GPU, 0.0)
        devices = await self._devices.acquire(request.devices, gpu)
        try:
            await self._run(dataclasses.replace(request, devices=devices), config)
        finally:
            await self._devices.release(devices, gpu)

    async def _run(self, request: AttemptRequest, config: Sealed) -> None:
        key = (request.trial_id, request.attempt)
        directory = self._directory / request.relative_dir
        stdout, stderr = directory / "stdout", directory / "stderr"
        early = self._early.pop(key, [])
        if any(isinstance(message, Kill) for message in early):
            self._outbox.ended(*key, Outcome.STOPPED, None)
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle = await self._spawner.spawn(
                self._context(request, config, directory), stdout, stderr, self.env.isolation
            )
        except (TuneError, OSError, pickle.PicklingError) as error:
            problem = f"the trial could not be started on {socket.gethostname()}: {error}"
            failure = AttemptError("start", problem)
            self._outbox.ended(*key, Outcome.FAILED, pickle.dumps(failure))
            return
        attempt = RunningAttempt(
            *key, handle, self._outbox, self.env.stop_grace_s, self.env.term_grace_s
        )
        self._running[key] = attempt
        # It may have been closed while the process was starting.
        if self.closed:
            attempt.abandon()
        for message in early + self._early.pop(key, []):
            _apply(message, attempt)
        try:
            await attempt.finish()
        finally:
            del self._running[key]
            _remove_if_empty(stdout)
            _remove_if_empty(stderr)

    def close(self) -> None:
        """End every attempt, now."""
        if self.closed:
            return
        self.closed = True
        if self._lease is not None:
            self._lease.cancel()
        for attempt in self._running.values():
            attempt.abandon()
        self._spawner.close()
        self._outbox.wake()

    def _context(self, request: AttemptRequest, config: Sealed, directory: Path) -> AttemptContext:
        env = self.env
        shown: Any = config.open() if env.isolation == THREAD else config
        return AttemptContext(
            experiment_id=env.experiment_id,
            experiment_name=env.experiment_name,
            trainable_name=env.trainable.name,
            trial_id=request.trial_id,
            trial_name=request.name,
            experiment_tag=request.experiment_tag,
            attempt=request.attempt,
            config=shown,
            resources=request.resources,
            trial_dir=str(directory),
            devices=request.devices,
            run_until=request.run_until,
            checkpoint=request.checkpoint,
            progress=request.progress,
            checkpoint_suffix=request.checkpoint_suffix,
            checkpoint_rules=env.checkpoint_rules,
            seed=env.seed,
            env=attempt_environment(request.resources, request.devices, env.env_vars),
        )

    async def _watch_lease(self) -> None:
        """End the attempts when the driver has been silent for too long: it must be gone."""
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
                self._lease = None
                self.close()
                return


def _apply(message: Decide | Kill, attempt: RunningAttempt) -> None:
    if isinstance(message, Kill):
        attempt.stop()
    else:
        attempt.decide(Decision(message.seq, message.action, message.run_until))


def _experiment_directory(env: ExperimentEnv) -> Path:
    """The experiment directory itself if this node sees it, else one of the node's own."""
    shared = Path(env.experiment_dir)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (shared / MARKER_FILE).read_text(encoding="utf-8").strip() == env.experiment_id:
            return shared
    own = Path(tempfile.gettempdir()) / f"prefect_tune-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    return own / env.experiment_id


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
