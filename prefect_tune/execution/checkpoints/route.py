"""`CheckpointRoute`: how checkpoints get from a node to the experiment's storage and back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typing_extensions import override

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.checkpoints.local_copies import LocalCopies


class CheckpointRoute:
    """Way of checkpoints between a node and an experiment's storage, for the node's event loop.

    Checkpoints are named by their path relative to the experiment directory, ``<trial
    dir>/checkpoint_000010``.
    """

    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        """Start to upload a complete checkpoint, whose directory belongs to the route from now on.

        Args:
            path: Path of the checkpoint relative to the experiment directory.
            directory: The checkpoint's directory on this node.

        Returns:
            A future with "" once the checkpoint is complete in storage, or with why it failed.
            If it is done already, no upload was needed. The future is never
            cancelled, not even by `close`.
        """
        raise NotImplementedError

    async def fetch(self, path: str) -> Path:
        """Get a checkpoint of this experiment onto this node.

        Args:
            path: See `TrialCheckpoint.path`; not a URL.

        Returns:
            The checkpoint's directory, which stays until `release` is called.

        Raises:
            CheckpointUnreadable: If the checkpoint is incomplete or damaged.
            StorageError: If the checkpoint cannot be fetched for another reason.
        """
        raise NotImplementedError

    def release(self, path: str) -> None:
        """Allow the deletion of a fetched checkpoint, because its attempt has ended."""

    def drop_copies(self, trial_dir: str) -> None:
        """Delete this node's copies of the checkpoints of a trial that has ended.

        Args:
            trial_dir: The trial's directory relative to the experiment directory.
        """

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds for running transfers, then cancel the rest."""


class InPlace(CheckpointRoute):
    """Route of a node that writes directly to storage, so that no upload is needed.

    Args:
        directory: The experiment directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @override
    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        return _resolved("")

    @override
    async def fetch(self, path: str) -> Path:
        # Joining an absolute path gives the absolute path.
        return await verified(self._directory / path)


class NoRoute(CheckpointRoute):
    """Route of a node from which the driver fetches no files.

    Args:
        reason: Why not, for error messages.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @override
    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        return _resolved(self._reason)

    @override
    async def fetch(self, path: str) -> Path:
        raise StorageError(self._reason)


class CopyingRoute(CheckpointRoute):
    """Base class of routes that keep copies of stored checkpoints on the node."""

    def __init__(self) -> None:
        self._copies = LocalCopies()

    async def _find(self, path: str) -> Path:
        """Return a checkpoint's directory on this node, and fetch it if needed; see `fetch`."""
        raise NotImplementedError

    @override
    async def fetch(self, path: str) -> Path:
        # Before the search, so that the copy is not deleted meanwhile.
        self._copies.use(path)
        try:
            return await self._find(path)
        except BaseException:
            self._copies.release(path)
            raise

    @override
    def release(self, path: str) -> None:
        self._copies.release(path)

    @override
    def drop_copies(self, trial_dir: str) -> None:
        self._copies.drop(trial_dir)


def _resolved(problem: str) -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result(problem)
    return future


async def verified(directory: Path) -> Path:
    """Return a checkpoint's directory after comparing its files with its manifest.

    Raises:
        CheckpointUnreadable: If they differ.
    """
    problem = await asyncio.to_thread(verify, directory)
    if problem:
        raise CheckpointUnreadable(f"the checkpoint {directory} cannot be used: {problem}")
    return directory
