"""Copies the files of trials from nodes into their directories on the driver."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.files.chunked_copy import (
    LocalDirectory,
    Transfers,
    in_uncancelled_thread,
)
from prefect_tune.execution.files.confined_directory import FileStatus, Piece
from prefect_tune.execution.files.node_files import NodeClient
from prefect_tune.result import DRIVER_FILES

#: File with the names of a trial's files that were copied from nodes, one per line.
RECORD_FILE = ".files_of_nodes"
#: Files that the driver itself writes.
_OWN = DRIVER_FILES | {RECORD_FILE}
#: Bytes that must be unchanged for a larger file to count as appended to.
_OVERLAP = 4096
_logger = logging.getLogger(__name__)
#: Trials whose files are fetched in parallel.
_MAX_PARALLEL = 8
_SHORTEST_PERIOD_S = 0.1


@dataclass(eq=False)
class TrialFiles:
    """Updates one trial's files on the driver, except for files that the driver writes.

    A file that has only grown is appended to. Another file is replaced at once, also by one of
    the same name that a later attempt writes on another node.

    Args:
        here: The experiment directory.
        directory: The trial's directory, relative to `here`.
        transfers: Limits the memory of copies.
        streams: Files in it to which each attempt adds to what the attempts before it, on other
            nodes, have written.

    Attributes:
        lock: Must be held by callers of `fetch`.
    """

    here: LocalDirectory
    directory: str
    transfers: Transfers
    streams: frozenset[str]
    lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _seen: dict[tuple[str, str], FileStatus] = field(init=False, default_factory=dict)
    _owner: dict[str, str] = field(init=False, default_factory=dict)
    _fetched: set[str] | None = None

    async def fetch(self, node: NodeClient, path: str, status: FileStatus) -> None:
        """Update one file.

        Args:
            node: Client for the node's files.
            path: Path of the file relative to the trial's directory.
            status: Present status of the file on the node.

        Raises:
            StorageError: If it cannot be read or written.
        """
        key = (node.address, path)
        seen = self._seen.get(key)
        if seen == status or path in _OWN or not await in_uncancelled_thread(self._may_write, path):
            return
        # Where the new part begins; a stream that has started again is new as a whole.
        grows = seen is not None and seen.inode == status.inode and status.size >= seen.size
        start = seen.size if seen is not None and grows else 0
        if path in self.streams or (
            self._owner.get(path) == node.address
            and grows
            and await self._is_beginning(node, path, start)
        ):
            position = await in_uncancelled_thread(self._size, path)
            await self._copy(node, path, path, start, status, position)
        else:
            await self._replace(node, path, status)
        self._owner[path] = node.address

    async def _replace(self, node: NodeClient, path: str, status: FileStatus) -> None:
        pure = PurePosixPath(path)
        temporary = str(pure.with_name(f".{pure.name}.tmp-{secrets.token_hex(4)}"))
        try:
            await in_uncancelled_thread(self.here.files.put, self._path(temporary), 0, b"")
            await self._copy(node, path, temporary, 0, status, 0)
            await in_uncancelled_thread(self._rename, temporary, path)
        except BaseException:
            self._seen.pop((node.address, path), None)
            with contextlib.suppress(OSError):
                os.unlink(self._file(temporary))
            raise

    async def _copy(
        self, node: NodeClient, path: str, to: str, start: int, status: FileStatus, position: int
    ) -> None:
        """Copy the node's file from `start` on, and record how far it was copied."""
        read = start

        def write(part: bytes | memoryview) -> None:
            nonlocal read
            self.here.files.put(self._path(to), position + read - start, part)
            read += len(part)
            self._seen[node.address, path] = status._replace(size=read)

        async def sink(part: bytes | memoryview) -> None:
            await in_uncancelled_thread(write, part)

        await self.transfers.stream(node, self._path(path), sink, start, status.size)
        self._seen[node.address, path] = status._replace(size=read)

    async def _is_beginning(self, node: NodeClient, path: str, size: int) -> bool:
        """Return True if the copy equals the file's first `size` bytes, judged by their end."""
        start = max(0, size - _OVERLAP)
        piece = Piece(self._path(path), start, size - start)
        if await in_uncancelled_thread(self._size, path) != size:
            return False
        (there,) = await node.read([piece])
        (here,) = await self.here.read([piece])
        return bytes(there) == bytes(here)

    def _may_write(self, path: str) -> bool:
        """Return True if a file does not exist or was copied from a node, and record its name."""
        record = self._file(RECORD_FILE)
        if self._fetched is None:
            self._fetched = set()
            with contextlib.suppress(FileNotFoundError):
                self._fetched.update(record.read_text(encoding="utf-8").splitlines())
        if path in self._fetched:
            return True
        if path not in self.streams and self._file(path).exists():
            return False
        record.parent.mkdir(parents=True, exist_ok=True)
        with open(record, "a", encoding="utf-8") as file:
            file.write(f"{path}\n")
        self._fetched.add(path)
        return True

    def _path(self, path: str) -> str:
        return f"{self.directory}/{path}"

    def _file(self, path: str) -> Path:
        return self.here.files.resolve(self._path(path))

    def _size(self, path: str) -> int:
        try:
            return self._file(path).stat().st_size
        except FileNotFoundError:
            return 0

    def _rename(self, temporary: str, final: str) -> None:
        os.replace(self._file(temporary), self._file(final))


class NodeTasks:
    """Tasks that work for nodes, in the client's event loop; a lost node's are cancelled."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, address: str, work: Coroutine[Any, Any, None]) -> None:
        """Start to work for a node."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = address
        task.add_done_callback(self._tasks.pop)

    def cancel(self, address: str) -> None:
        """Cancel the tasks for a node; `finish` waits until they have cleaned up."""
        for task, node in self._tasks.items():
            if node == address:
                task.cancel()

    async def finish(self, patience: float) -> int:
        """Wait up to `patience` seconds, then cancel the rest; return how many those were."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        late = list(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)


@dataclass(eq=False)
class TrialFileCollector:
    """Fetches the files of trials' directories on nodes: periodically, and when an attempt ends.

    Only what is new travels. Belongs to the client's event loop.

    Args:
        here: The experiment directory.
        transfers: Limits the memory of copies.
        env: The experiment, which says how often to look, for how long, and at which output.
    """

    here: LocalDirectory
    transfers: Transfers
    env: ExperimentEnv
    _turns: asyncio.Semaphore = field(
        init=False, default_factory=lambda: asyncio.Semaphore(_MAX_PARALLEL)
    )
    _watched: dict[tuple[str, str], NodeClient] = field(init=False, default_factory=dict)
    _trials: dict[str, TrialFiles] = field(init=False, default_factory=dict)
    _work: NodeTasks = field(init=False, default_factory=NodeTasks)
    _timer: asyncio.TimerHandle | None = None
    _told: set[str] = field(init=False, default_factory=set)

    def watch(self, node: NodeClient, directory: str) -> None:
        """Start to fetch the files that a trial writes on a node."""
        self._watched[node.address, directory] = node
        if self._timer is None:
            self._schedule()

    def unwatch(self, address: str, directory: str) -> None:
        """Fetch new files of a trial once more, and stop."""
        node = self._watched.pop((address, directory), None)
        if node is not None:
            self._collect(node, directory)

    def lose_node(self, address: str) -> None:
        """Stop fetching files of a lost node; files that were fetched stay."""
        for key in [key for key in self._watched if key[0] == address]:
            del self._watched[key]
        self._work.cancel(address)

    async def close(self, patience: float) -> None:
        """Fetch all new files within `patience` seconds, and stop."""
        if self._timer is not None:
            self._timer.cancel()
        for address, directory in list(self._watched):
            self.unwatch(address, directory)
        late = await self._work.finish(patience)
        if late:
            _logger.warning(
                "Output of %d trials was not fetched from their nodes within %.0f s.",
                late,
                patience,
            )

    def _schedule(self) -> None:
        period_s = max(self.env.sync_period_s, _SHORTEST_PERIOD_S)
        self._timer = asyncio.get_running_loop().call_later(period_s, self._collect_all)

    def _collect_all(self) -> None:
        self._schedule()
        for (_, directory), node in self._watched.items():
            trial = self._trials.get(directory)
            # Otherwise requests to a node that does not answer would accumulate.
            if trial is None or not trial.lock.locked():
                self._collect(node, directory)

    def _collect(self, node: NodeClient, directory: str) -> None:
        self._work.start(node.address, self._fetch(node, directory))

    async def _fetch(self, node: NodeClient, directory: str) -> None:
        trial = self._trials.get(directory)
        if trial is None:
            files = self.env.output_files
            streams = frozenset((files.stdout, files.stderr))
            trial = TrialFiles(self.here, directory, self.transfers, streams)
            self._trials[directory] = trial
        timeout_s = self.env.storage_timeout_s
        try:
            async with trial.lock, self._turns, asyncio.timeout(timeout_s):
                for path, status in (await node.files(directory)).items():
                    await trial.fetch(node, path, status)
        except CheckpointUnreadable:  # a file was removed while we looked
            pass
        except (StorageError, OSError) as error:
            if directory not in self._told:
                self._told.add(directory)
                _logger.warning(
                    "What a trial has written on the worker at %s could not be fetched to %s: %s",
                    node.address,
                    directory,
                    error or f"not done within {timeout_s:g} s",
                )
