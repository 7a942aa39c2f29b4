"""`DriverFiles`: copies files between the driver and nodes without a shared file system."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.driver.trial_files import NodeTasks, TrialFileCollector
from prefect_tune.execution.files.chunked_copy import (
    LocalDirectory,
    TransferEnd,
    Transfers,
    in_uncancelled_thread,
)
from prefect_tune.execution.files.node_files import NodeClient
from prefect_tune.execution.protocol.reports import (
    CheckpointRequest,
    CopyToDriver,
    CopyToNode,
)
from prefect_tune.filesystem.location import Location, is_absolute

_logger = logging.getLogger(__name__)
#: Checkpoints that are copied in parallel; others wait, and so do their trials.
_MAX_PARALLEL = 4


class DriverFiles:
    """Fetches checkpoints and logs from nodes, and sends checkpoints to them.

    Belongs to the client's event loop. Everything goes through Dask's connections, in chunks; what
    touches a disk happens in threads.

    Args:
        scheduler: The client's scheduler stub.
        env: The experiment.
    """

    def __init__(self, scheduler: Any, env: ExperimentEnv) -> None:
        self._scheduler = scheduler
        self._env = env
        self._here = LocalDirectory(env.experiment_dir)
        self._transfers = Transfers(env.storage_timeout_s)
        self._logs = TrialFileCollector(self._here, self._transfers, env)
        self._turns = asyncio.Semaphore(_MAX_PARALLEL)
        self._nodes: dict[str, NodeClient] = {}
        self._work = NodeTasks()
        self._trials: dict[str, asyncio.Lock] = {}
        # Fetched checkpoints whose `CheckpointUploaded` has not been received.
        self._unconfirmed: dict[str, str] = {}
        self._given: set[str] = set()

    def add_node(self, address: str) -> None:
        """Add a node that works in a directory of its own."""
        self._nodes[address] = NodeClient(self._scheduler, address, self._env.experiment_id)

    def lose_node(self, address: str) -> None:
        """Cancel all transfers of a lost node."""
        self._nodes.pop(address, None)
        self._logs.lose_node(address)
        self._work.cancel(address)
        unconfirmed = [path for path, node in self._unconfirmed.items() if node == address]
        for path in unconfirmed:
            # The node will never report this checkpoint.
            del self._unconfirmed[path]
            asyncio.get_running_loop().run_in_executor(None, self._remove, path)

    def on_request(self, address: str, request: CheckpointRequest) -> None:
        """Carry out a node's request for a checkpoint."""
        node = self._nodes.get(address)
        if node is not None:
            self._work.start(address, self._serve(node, request))

    def confirm(self, path: str) -> None:
        """Note that a checkpoint has been reported, so that it stays even if its node is lost."""
        self._unconfirmed.pop(path, None)

    def attempt_launched(self, address: str, relative_dir: str, checkpoint: str | None) -> None:
        """Note that an attempt runs on a node, and start to fetch its files.

        Args:
            address: Address of the node.
            relative_dir: Directory of the attempt's trial.
            checkpoint: The checkpoint that the attempt starts from.
        """
        node = self._nodes.get(address)
        if node is None:
            return
        if checkpoint is not None and (location := Location(checkpoint)).is_local:
            self._given.add(location.path)
        if self._env.sync_to_driver:
            self._logs.watch(node, relative_dir)

    def attempt_ended(self, address: str, relative_dir: str) -> None:
        """Fetch the last files of an attempt that has ended."""
        self._logs.unwatch(address, relative_dir)

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds for running transfers, then cancel the rest."""
        await self._logs.close(patience)
        await self._work.finish(patience)
        self._nodes.clear()

    async def _serve(self, node: NodeClient, request: CheckpointRequest) -> None:
        """Copy a checkpoint, and send the node the outcome."""
        path, is_upload = request.path, isinstance(request, CopyToDriver)
        turn = (
            self._in_order(str(PurePosixPath(path).parent))
            if is_upload
            else contextlib.nullcontext()
        )
        async with turn:
            error: StorageError | None = None
            try:
                async with self._turns:
                    if isinstance(request, CopyToNode):
                        await self._transfers.copy(
                            self._source(path), TransferEnd(node, request.to)
                        )
                    else:
                        await self._transfers.copy(
                            TransferEnd(node, path), TransferEnd(self._here, path)
                        )
                        self._unconfirmed[path] = node.address
            except StorageError as problem:
                error = problem
            except OSError as problem:
                error = StorageError(os.strerror(problem.errno) if problem.errno else str(problem))
            try:
                await node.answer(request, error)
            except StorageUnavailable as gone:
                _logger.info("%s; it is not told about %s", gone, path)

    def _source(self, path: str) -> TransferEnd:
        # A node may not read any other directory of this machine.
        if path not in self._given:
            raise StorageError(f"no attempt was given the checkpoint {path}")
        return (
            TransferEnd(LocalDirectory(path), "")
            if is_absolute(path)
            else TransferEnd(self._here, path)
        )

    @contextlib.asynccontextmanager
    async def _in_order(self, directory: str) -> AsyncIterator[None]:
        """Fetch a trial's checkpoints one after the other, in the order of writing."""
        first = directory not in self._trials
        async with self._trials.setdefault(directory, asyncio.Lock()):
            if first:  # what a killed driver was fetching
                with contextlib.suppress(StorageError):
                    await in_uncancelled_thread(self._here.files.discard_arriving, directory)
            yield

    def _remove(self, path: str) -> None:
        try:
            remove_tree(self._here.files.resolve(path))
        except OSError as error:
            _logger.warning("%s is not needed any more, but cannot be removed: %s", path, error)
