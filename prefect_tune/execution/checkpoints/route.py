"""How checkpoints get from a node into storage, and back to a node."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typing_extensions import override

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.checkpoints.local_copies import LocalCopies


class CheckpointRoute:
    """One way between a node and the storage of an experiment. Belongs to the node's event loop.

    Checkpoints are named by their path relative to the experiment directory, ``<trial
    dir>/checkpoint_000010``.
    """

    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        """Upload a checkpoint; the directory is complete and belongs to the route now.

        Args:
            path: Its path relative to the experiment directory.
            directory: Where it is on this node.

        Returns:
            Resolves to "" once the checkpoint is complete in storage, or to why it never will be.
            A future that is done already says that there was nothing to do; one is never
            cancelled, not even by `close`.
        """
        raise NotImplementedError

    async def fetch(self, path: str) -> Path:
        """Have a checkpoint of this experiment complete on this node.

        Args:
            path: See `TrialCheckpoint.path`; not a URL.

        Returns:
            The directory, which stays until `release`.

        Raises:
            CheckpointUnreadable: If it is incomplete or damaged, wherever it is.
            StorageError: If it cannot be had now for another reason.
        """
        raise NotImplementedError

    def release(self, path: str) -> None:
        """The attempt that a checkpoint was fetched for does not need it any more."""

    def drop_copies(self, trial_dir: str) -> None:
        """A trial is over: this node need not have copies of its checkpoints.

        Args:
            trial_dir: Its directory relative to the experiment directory.
        """

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds for what is under way, then give the rest up."""


class InPlace(CheckpointRoute):
    """The node works in the storage itself: a checkpoint that is complete is uploaded.

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
        # An absolute path stays what it is.
        return await verified(self._directory / path)


class NoRoute(CheckpointRoute):
    """Leads nowhere: what the node writes does not reach the driver.

    Args:
        reason: Why, for people.
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
    """Base class of routes on which a node has copies of what is in storage."""

    def __init__(self) -> None:
        self._copies = LocalCopies()

    async def _find(self, path: str) -> Path:
        """The directory of a checkpoint on this node, fetched if need be; see `fetch`."""
        raise NotImplementedError

    @override
    async def fetch(self, path: str) -> Path:
        # From here on, so that nobody deletes it while it is looked at.
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
    """A checkpoint's directory, once its files have been compared with its list.

    Raises:
        CheckpointUnreadable: If they differ.
    """
    problem = await asyncio.to_thread(verify, directory)
    if problem:
        raise CheckpointUnreadable(f"the checkpoint {directory} cannot be used: {problem}")
    return directory
