"""`CheckpointRoute`: how checkpoints get from a node to the experiment's storage and back."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable, StorageError

#: Copies to keep for a trial: the newest checkpoint, and the one before in case it is damaged.
COPIES_PER_TRIAL = 2


@dataclass(slots=True)
class _Copy:
    directory: Path
    stored: bool


class LocalCopies:
    """Keeps track of a node's copies of checkpoints, and deletes older ones."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}  # oldest first
        self._users: Counter[str] = Counter()
        self._deleting: set[asyncio.Task[None]] = set()
        self._ended_trials: set[str] = set()

    def add(self, path: str, directory: Path, *, stored: bool = True) -> None:
        """Add a copy as the newest one of its trial.

        Args:
            path: The checkpoint's path relative to the experiment directory.
            directory: Directory of the copy.
            stored: False if the upload failed, so that this is the only copy.
        """
        self._copies.pop(path, None)
        self._copies[path] = _Copy(directory, stored)
        self._delete_unneeded(posixpath.dirname(path))

    def find(self, path: str) -> Path | None:
        """Return the directory of a checkpoint's copy, maybe damaged; None if there is none."""
        copy = self._copies.get(path)
        return None if copy is None else copy.directory

    def use(self, path: str) -> None:
        """Protect a checkpoint's present or future copy from deletion until `release` is called."""
        self._users[path] += 1

    def release(self, path: str) -> None:
        """End the protection of a checkpoint's copy that `use` began."""
        self._users[path] -= 1
        if self._users[path] <= 0:
            del self._users[path]
            self._delete_unneeded(posixpath.dirname(path))

    def drop(self, trial_dir: str) -> None:
        """Delete the copies of a trial that has ended, except for those whose upload failed."""
        self._ended_trials.add(trial_dir)
        self._delete_unneeded(trial_dir)

    async def close(self) -> None:
        """Wait until all deletions are done."""
        while self._deleting:
            await asyncio.wait(self._deleting)

    def _delete_unneeded(self, trial_dir: str) -> None:
        paths = [path for path in self._copies if posixpath.dirname(path) == trial_dir]
        if trial_dir in self._ended_trials:
            unneeded = [path for path in paths if self._copies[path].stored]
        else:
            unneeded = paths[:-COPIES_PER_TRIAL]
        for path in unneeded:
            if path not in self._users:
                task = asyncio.create_task(_delete(self._copies.pop(path).directory))
                self._deleting.add(task)
                task.add_done_callback(self._deleting.discard)


async def _delete(directory: Path) -> None:
    # Renamed first, so that other readers find a complete checkpoint or none.
    doomed = directory.with_name(f".{directory.name}.old-{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        directory.rename(doomed)
        await asyncio.to_thread(remove_tree, doomed)


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


class SharedDirectoryRoute(CheckpointRoute):
    """Route of a node whose trials write into the experiment directory, so that nothing is copied.

    Args:
        directory: The experiment directory on this node.
        obstacle: Why checkpoints do not get from there to storage; "" if they do.
    """

    def __init__(self, directory: Path, obstacle: str = "") -> None:
        self._directory = directory
        self._obstacle = obstacle

    @override
    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.set_result(self._obstacle)
        return future

    @override
    async def fetch(self, path: str) -> Path:
        if self._obstacle:
            raise StorageError(self._obstacle)
        # Joining an absolute path gives the absolute path.
        return await verified(self._directory / path)


@dataclass(eq=False)
class CopyingRoute(CheckpointRoute):
    """Base class of routes that keep copies of stored checkpoints on the node."""

    _copies: LocalCopies = field(init=False, default_factory=LocalCopies)

    async def _get(self, path: str) -> Path:
        """Get a checkpoint that this node has no intact copy of; arguments as for `fetch`."""
        raise NotImplementedError

    @override
    async def fetch(self, path: str) -> Path:
        # Before the search, so that the copy is not deleted meanwhile.
        self._copies.use(path)
        try:
            copy = self._copies.find(path)
            if copy is not None and not await asyncio.to_thread(verify, copy):
                return copy
            return await self._get(path)
        except BaseException:
            self._copies.release(path)
            raise

    @override
    def release(self, path: str) -> None:
        self._copies.release(path)

    @override
    def drop_copies(self, trial_dir: str) -> None:
        self._copies.drop(trial_dir)


async def verified(directory: Path) -> Path:
    """Return a checkpoint's directory after comparing its files with its manifest.

    Raises:
        CheckpointUnreadable: If they differ.
    """
    problem = await asyncio.to_thread(verify, directory)
    if problem:
        raise CheckpointUnreadable(f"the checkpoint {directory} cannot be used: {problem}")
    return directory
