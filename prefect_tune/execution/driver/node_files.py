"""What the driver does about files of nodes that share no file system with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import PurePosixPath
from typing import Any

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.driver.log_collector import LogCollector
from prefect_tune.execution.files.chunked_copy import At, HereArea, Transfers, in_thread
from prefect_tune.execution.files.confined_directory import FileArea
from prefect_tune.execution.files.node_client import ThereArea
from prefect_tune.execution.files.node_directory import is_elsewhere
from prefect_tune.execution.protocol.reports import CHECKPOINT_SAVED, KEEP, WANT, Entry
from prefect_tune.filesystem.location import Location

_logger = logging.getLogger(__name__)
#: Checkpoints that are moved at once; the others wait, and with them their trials.
_ABREAST = 4


class DriverFiles:
    """Fetches checkpoints and logs of nodes, and takes checkpoints to them.

    Belongs to the client's event loop. Everything goes through Dask's connections, in chunks; what
    touches a disk happens in threads.

    Args:
        scheduler: The client's scheduler stub.
        env: The experiment.
    """

    def __init__(self, scheduler: Any, env: ExperimentEnv) -> None:
        self._scheduler = scheduler
        self._env = env
        here = FileArea(env.experiment_dir)
        self._root = here
        self._here = HereArea(here)
        self._transfers = Transfers(env.storage_timeout_s)
        files = env.output_files
        self._logs = LogCollector(
            here,
            self._transfers,
            env.sync_period_s,
            env.storage_timeout_s,
            frozenset((files.stdout, files.stderr)),
        )
        self._turns = asyncio.Semaphore(_ABREAST)
        self._areas: dict[str, ThereArea] = {}
        self._work: dict[str, set[asyncio.Task[None]]] = {}
        self._trials: dict[str, asyncio.Lock] = {}
        # In place, but their `CheckpointSaved` has not come.
        self._unconfirmed: dict[str, str] = {}
        self._given: set[str] = set()

    def add_node(self, address: str) -> None:
        """A node works in a directory of its own."""
        self._areas[address] = ThereArea(self._scheduler, address, self._env.experiment_id)

    def lose_node(self, address: str) -> None:
        """A node is gone; whatever it had under way ends."""
        self._abandon(address)
        unconfirmed = [path for path, node in self._unconfirmed.items() if node == address]
        for path in unconfirmed:
            # Nobody will ever hear of it.
            del self._unconfirmed[path]
            asyncio.get_running_loop().run_in_executor(None, self._remove, path)

    def take(self, address: str, entries: Sequence[Entry]) -> list[Entry]:
        """Do what a node asks for in its reports; returns the reports that are for others."""
        area = self._areas.get(address)
        if area is None:
            return list(entries)
        rest = []
        for entry in entries:
            kind = entry[0]
            if kind == KEEP:
                self._start(address, self._keep(area, entry[3]))
            elif kind == WANT:
                self._start(address, self._bring(area, *entry[3:]))
            else:
                rest.append(entry)
                if kind == CHECKPOINT_SAVED:
                    self._unconfirmed.pop(entry[3], None)
        return rest

    def attempt_launched(self, address: str, relative_dir: str, checkpoint: str | None) -> None:
        """An attempt runs on a node from now on.

        Args:
            address: The node.
            relative_dir: Its trial's directory.
            checkpoint: What it goes on from.
        """
        area = self._areas.get(address)
        if area is None:
            return
        if checkpoint is not None and (location := Location(checkpoint)).is_local:
            self._given.add(location.path)
        if self._env.sync_to_driver:
            self._logs.watch(area, relative_dir)

    def attempt_ended(self, address: str, relative_dir: str) -> None:
        """It is over: what it has written is fetched now."""
        self._logs.unwatch(address, relative_dir)

    async def close(self, patience: float) -> None:
        """Wait up to so many seconds for what is under way, then give the rest up."""
        await self._logs.close(patience)
        tasks = {task for work in self._work.values() for task in work}
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for address in list(self._areas):
            self._abandon(address)
        if tasks:
            await asyncio.wait(tasks)

    def _abandon(self, address: str) -> None:
        self._areas.pop(address, None)
        self._logs.lose_node(address)
        for task in self._work.pop(address, set()):
            task.cancel()

    def _start(self, address: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks = self._work.setdefault(address, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _keep(self, area: ThereArea, path: str) -> None:
        """Fetch a checkpoint that a trial has written, and say so."""
        directory = str(PurePosixPath(path).parent)
        async with self._turn_of(directory):
            error: StorageError | None = None
            try:
                async with self._turns:
                    await self._transfers.copy(At(area, path), At(self._here, path))
                self._unconfirmed[path] = area.address
            except (StorageError, OSError) as problem:
                error = _as_storage_error(problem)
            await self._settle(area, KEEP, path, error)

    async def _bring(self, area: ThereArea, path: str, to: str) -> None:
        """Take a checkpoint to a node that an attempt goes on from it there."""
        error: StorageError | None = None
        try:
            source = self._source(path)
            async with self._turns:
                await self._transfers.copy(source, At(area, to))
        except (StorageError, OSError) as problem:
            error = _as_storage_error(problem)
        await self._settle(area, WANT, path, error)

    def _source(self, path: str) -> At:
        # Nothing else of this machine is anything to a node.
        if path not in self._given:
            raise StorageError(f"no attempt was given the checkpoint {path}")
        return At(HereArea(FileArea(path)), "") if is_elsewhere(path) else At(self._here, path)

    async def _settle(
        self, area: ThereArea, question: str, path: str, error: StorageError | None
    ) -> None:
        try:
            await area.settle(question, path, error)
        except StorageUnavailable as gone:
            _logger.info("%s; it is not told about %s", gone, path)

    @contextlib.asynccontextmanager
    async def _turn_of(self, directory: str) -> AsyncIterator[None]:
        """A trial's checkpoints come one after another, in the order that it wrote them."""
        lock = self._trials.get(directory)
        first = lock is None
        if lock is None:
            lock = self._trials[directory] = asyncio.Lock()
        async with lock:
            if first:  # what a killed driver was fetching
                with contextlib.suppress(StorageError):
                    await in_thread(self._root.discard_arriving, directory)
            yield

    def _remove(self, path: str) -> None:
        try:
            remove_tree(self._root.resolve(path))
        except OSError as error:
            _logger.warning("%s, which nobody needs, cannot be removed: %s", path, error)


def _as_storage_error(error: StorageError | OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(os.strerror(error.errno) if error.errno else str(error))
