"""`NodeCheckpoints`: uploads and fetches the checkpoints of an experiment on a node."""

from __future__ import annotations

import asyncio
import posixpath
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.checkpoints.driver_route import DriverRoute
from prefect_tune.execution.checkpoints.route import CheckpointRoute, SharedDirectoryRoute
from prefect_tune.execution.checkpoints.transfer_client import TransferClient
from prefect_tune.execution.checkpoints.upload_route import Downloads, UploadRoute
from prefect_tune.execution.files.confined_directory import ConfinedDirectory
from prefect_tune.execution.files.node_directory import NodeDirectory
from prefect_tune.execution.files.node_files import NodeFiles
from prefect_tune.execution.protocol.reports import (
    CheckpointUploaded,
    Outbox,
    StorageOutage,
    UploadFailed,
)
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.filesystem.location import Location, is_absolute


class NodeCheckpoints:
    """Chooses the route of checkpoints to storage, and fetches those that attempts start from.

    For use in the event loop of the node.

    Args:
        env: Description of the experiment.
        directory: The experiment's directory on this node.
        outbox: Queue of reports and requests to the driver.

    Attributes:
        route: Route of this experiment's checkpoints to storage.
        transfers: Uploads to and downloads from remote storage.
        files: Files that the driver may read and write; None if it shares the directory.
    """

    def __init__(self, env: ExperimentEnv, directory: NodeDirectory, outbox: Outbox) -> None:
        self._env = env
        self.transfers = TransferClient(
            env.storage_timeout_s, lambda problem: outbox.put(StorageOutage(problem))
        )
        self._downloads = Downloads(directory.path, self.transfers)
        # For checkpoints on file systems that only the driver has.
        self._driver = None if directory.shared else DriverRoute(directory.path, outbox)
        self.route = self._choose_route(directory)
        self.files: NodeFiles | None = None
        if self._driver is not None:
            self.files = NodeFiles(ConfinedDirectory(directory.path), self._driver.on_answer)

    def _choose_route(self, directory: NodeDirectory) -> CheckpointRoute:
        storage = self._env.storage
        if storage is not None:
            return UploadRoute(directory.path, storage, self.transfers, self._downloads)
        if self._driver is None:
            return SharedDirectoryRoute(directory.path)
        if self._env.sync_to_driver:
            return self._driver
        return SharedDirectoryRoute(
            directory.path,
            f"{socket.gethostname()} does not see {self._env.experiment_dir}, and with "
            "SyncConfig(sync_to_driver=False) the driver fetches nothing from there. Leave "
            "sync_to_driver on, or give a storage_path that all nodes see.",
        )

    async def fetch(self, checkpoint: str | None) -> Path | None:
        """Fetch the checkpoint that an attempt starts from, and keep it until `release` is called.

        Args:
            checkpoint: See `TrialCheckpoint.path`.

        Raises:
            CheckpointUnreadable: If the checkpoint is incomplete or damaged.
            StorageError: If the checkpoint cannot be fetched for another reason.
        """
        if checkpoint is None:
            return None
        location = Location(checkpoint)
        if location.is_local:
            return await self._route_of(location.path).fetch(location.path)
        parent, name = posixpath.split(checkpoint)
        place, storage = Location(parent), self._env.storage
        if storage is not None and urlsplit(storage.url).scheme == urlsplit(parent).scheme:
            # Another experiment's checkpoint in the same kind of storage needs the same options.
            place = replace(storage, url=parent)
        return await self._downloads.download(place, name)

    def release(self, checkpoint: str | None) -> None:
        """Allow the deletion of a fetched checkpoint, because its attempt has ended."""
        if checkpoint is not None and (location := Location(checkpoint)).is_local:
            self._route_of(location.path).release(location.path)

    def _route_of(self, path: str) -> CheckpointRoute:
        """Return the route for a path; one outside the experiment may be on the driver only."""
        return self._driver if self._driver and is_absolute(path) else self.route

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds for running uploads, then end all transfers."""
        await self.route.close(patience)
        if self._driver is not None:
            await self._driver.close(patience)
        self.transfers.close()
        await self._downloads.close()


@dataclass(eq=False)
class CheckpointHandoff:
    """Takes over an attempt's checkpoints, uploads them and reports the outcome.

    Args:
        key: Key of the attempt.
        trial_dir: The trial's directory on this node.
        relative_dir: The trial's directory relative to the experiment directory.
        route: Uploads the checkpoints.
        outbox: Queue of reports to the driver.
    """

    key: AttemptKey
    trial_dir: Path
    relative_dir: str
    route: CheckpointRoute
    outbox: Outbox
    _uploads: dict[asyncio.Future[str], str] = field(init=False, default_factory=dict)

    @property
    def uploading(self) -> tuple[str, ...]:
        """Paths of checkpoints that are still uploading, relative to the experiment directory."""
        return tuple(self._uploads.values())

    async def wait_uploaded(self) -> None:
        """Wait until no checkpoint of the attempt is uploading."""
        while self._uploads:
            await asyncio.wait(self._uploads)

    def hand_over(self, name: str, line: bytes, on_done: Callable[[], None]) -> None:
        """Take over a checkpoint and start its upload.

        Args:
            name: Name of the checkpoint's directory in the trial's directory.
            line: The checkpoint's result, as JSON.
            on_done: Called once the driver knows of the uploaded checkpoint, or the upload failed.
        """
        path = f"{self.relative_dir}/{name}"
        upload = self.route.upload(path, self.trial_dir / name)

        def report(_: asyncio.Future[str]) -> None:
            self._uploads.pop(upload, None)
            problem = upload.result()
            if problem:
                self.outbox.put(UploadFailed(self.key, path, problem), urgent=False)
                on_done()
            else:
                uploaded = CheckpointUploaded(self.key, path, line)
                self.outbox.put(uploaded, nbytes=len(line), arrived=on_done)

        if upload.done():
            # At once, so that this report precedes the trial's next ones.
            report(upload)
        else:
            self._uploads[upload] = path
            upload.add_done_callback(report)
