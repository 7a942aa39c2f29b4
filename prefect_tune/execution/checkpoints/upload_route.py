"""Route from a node directly to remote storage, and back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import posixpath
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from prefect_tune.checkpoint.files import clone_tree, remove_tree
from prefect_tune.checkpoint.manifest import publish, verify
from prefect_tune.error import StorageError, storage_errors
from prefect_tune.execution.checkpoints.route import CopyingRoute, verified
from prefect_tune.execution.checkpoints.transfer_client import TransferClient
from prefect_tune.execution.files.node_directory import FETCHED
from prefect_tune.filesystem.location import Location, is_absolute

_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class UploadRoute(CopyingRoute):
    """Route that uploads checkpoints to remote storage while training continues.

    Args:
        directory: The experiment's directory on this node.
        storage: The experiment's directory in storage.
        transfers: Uploads checkpoints.
        downloads: Downloads checkpoints.
    """

    directory: Path
    storage: Location
    transfers: TransferClient
    downloads: Downloads
    #: Running uploads, with the trial's directory.
    _uploads: dict[asyncio.Task[str], str] = field(init=False, default_factory=dict)

    @override
    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        trial_dir = posixpath.dirname(path)
        # In order, because the driver takes the checkpoint reported last for the newest.
        before = [task for task, of_trial in self._uploads.items() if of_trial == trial_dir]
        upload = asyncio.create_task(self._upload(path, directory, before))
        self._uploads[upload] = trial_dir
        upload.add_done_callback(self._uploads.pop)
        return upload

    @override
    async def close(self, patience: float) -> None:
        if self._uploads:
            await asyncio.wait(self._uploads, timeout=patience)
        self.transfers.close()
        if self._uploads:
            await asyncio.wait(self._uploads)
        await self._copies.close()

    async def _upload(self, path: str, directory: Path, before: list[asyncio.Task[str]]) -> str:
        loop = asyncio.get_running_loop()
        since = loop.time()
        if before:
            await asyncio.wait(before)
        problem = ""
        try:
            await self.transfers.put(directory, self.storage, path, loop.time() - since)
        except StorageError as error:
            problem = str(error)
        except Exception as error:
            _logger.exception("The checkpoint %s could not be uploaded.", path)
            problem = repr(error)
        if problem:
            where = f"{directory} on {socket.gethostname()}"
            _logger.warning("The checkpoint in %s could not be uploaded: %s", where, problem)
        self._copies.add(path, directory, stored=not problem)
        return problem

    @override
    async def _get(self, path: str) -> Path:
        if is_absolute(path):
            return await verified(Path(path))
        # Another worker, or an earlier run on this node, may have written it into this directory.
        sibling = self.directory / path
        directory = await self.downloads.download(self.storage, path, sibling)
        self._copies.add(path, directory)
        return directory


class Downloads:
    """Downloads each checkpoint once, however many attempts wait for it.

    Belongs to the event loop of the node.

    Args:
        directory: The experiment's directory on this node.
        transfers: Downloads the checkpoints.
    """

    def __init__(self, directory: Path, transfers: TransferClient) -> None:
        # On the experiment's disk, in a folder of this agent alone.
        self._area = directory / FETCHED / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._transfers = transfers
        self._running: dict[str, asyncio.Task[Path]] = {}

    async def download(self, location: Location, path: str, sibling: Path | None = None) -> Path:
        """Download a checkpoint, which stays until its directory is deleted or `close` is called.

        Args:
            location: A directory in storage.
            path: Path of the checkpoint below `location`.
            sibling: A local directory that may also have the checkpoint, but may be deleted.

        Returns:
            The directory of the checkpoint on this node.

        Raises:
            CheckpointUnreadable: If the checkpoint is missing, incomplete or damaged.
            StorageError: If the checkpoint cannot be downloaded.
        """
        url = str(location / path)

        def on_done(task: asyncio.Task[Path]) -> None:
            del self._running[url]
            if not task.cancelled():
                task.exception()  # marks it as retrieved: all callers may have been cancelled

        task = self._running.get(url)
        if task is None:
            task = asyncio.create_task(self._download(location, path, sibling))
            self._running[url] = task
            task.add_done_callback(on_done)
        # The caller may be cancelled while others still wait for the checkpoint.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel running downloads and delete all downloaded checkpoints."""
        for task in self._running.values():
            task.cancel()
        await asyncio.to_thread(remove_tree, self._area)
        with contextlib.suppress(OSError):  # other agents use the folder, or it does not exist
            self._area.parent.rmdir()

    async def _download(self, location: Location, path: str, sibling: Path | None) -> Path:
        # Different locations have checkpoints of the same name.
        place = hashlib.sha256(location.url.encode()).hexdigest()[:8]
        target = self._area / place / path
        if not await asyncio.to_thread(verify, target):
            return target
        if sibling is not None and await asyncio.to_thread(_copy, sibling, target):
            return target
        await self._transfers.get(location, path, target)
        return target


def _copy(source: Path, target: Path) -> bool:
    """Copy a checkpoint that may be deleted meanwhile; return False if it is not complete.

    Raises:
        StorageError: If the copy cannot be written.
    """
    if verify(source):
        return False
    temporary = target.with_name(f".{target.name}.tmp-{secrets.token_hex(4)}")
    with storage_errors(f"copy the checkpoint {source} to {target}"):
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            clone_tree(source, temporary)
            if verify(temporary):
                return False
            publish(temporary, target)
        except FileNotFoundError:
            return False
        finally:
            remove_tree(temporary)
    return True
