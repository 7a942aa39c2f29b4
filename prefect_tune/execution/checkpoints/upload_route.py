"""Route from a node directly to remote storage."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import socket
from pathlib import Path

from typing_extensions import override

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import StorageError
from prefect_tune.execution.checkpoints.downloads import Downloads
from prefect_tune.execution.checkpoints.route import CopyingRoute, verified
from prefect_tune.execution.checkpoints.upload_client import TransferService
from prefect_tune.filesystem.location import Location, is_absolute

_logger = logging.getLogger(__name__)


class UploadRoute(CopyingRoute):
    """Route that uploads checkpoints to remote storage while training continues.

    Args:
        directory: The experiment's directory on this node.
        storage: The experiment's directory in storage.
        transfers: Uploads checkpoints.
        downloads: Downloads checkpoints.
    """

    def __init__(
        self, directory: Path, storage: Location, transfers: TransferService, downloads: Downloads
    ) -> None:
        super().__init__()
        self._directory = directory
        self._storage = storage
        self._transfers = transfers
        self._downloads = downloads
        self._uploads: dict[asyncio.Task[str], str] = {}  # with the trial's directory

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
        self._transfers.close()
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
            await self._transfers.put(directory, self._storage, path, loop.time() - since)
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
    async def _find(self, path: str) -> Path:
        if is_absolute(path):
            return await verified(Path(path))
        copy = self._copies.find(path)
        if copy is not None and not await asyncio.to_thread(verify, copy):
            return copy
        # Another worker, or an earlier run on this node, may have written it into this directory.
        sibling = self._directory / path
        directory = await self._downloads.download(self._storage, path, sibling)
        self._copies.add(path, directory)
        return directory
