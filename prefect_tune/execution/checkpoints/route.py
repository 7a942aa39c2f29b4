"""How checkpoints get from a node into storage, and back to a node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable


class CheckpointRoute(Protocol):
    """One way between a node and the storage of an experiment. Belongs to the node's event loop.

    Checkpoints are named by their path relative to the experiment directory, ``<trial
    dir>/checkpoint_000010``.
    """

    def keep(self, trial_id: str, attempt: int, path: str, directory: Path) -> asyncio.Future[str]:
        """Take a checkpoint to storage; the directory is complete and belongs to the route now.

        Args:
            trial_id: Its trial.
            attempt: The attempt that wrote it; may be over before the checkpoint has arrived.
            path: Its path relative to the experiment directory.
            directory: Where it is on this node.

        Returns:
            Resolves to "" once the checkpoint is complete in storage, or to why it never will be.
            A future that is done already says that there was nothing to do; one is never
            cancelled, not even by `close`.
        """
        ...

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
        ...

    def release(self, path: str) -> None:
        """The attempt that a checkpoint was fetched for does not need it any more."""
        ...

    def forget(self, trial_dir: str) -> None:
        """A trial is over: this node need not keep copies of its checkpoints.

        Args:
            trial_dir: Its directory relative to the experiment directory.
        """
        ...

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds for what is under way, then give the rest up."""
        ...


class InPlace:
    """The node works in the storage itself: a checkpoint that is complete has arrived.

    Args:
        directory: The experiment directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, trial_id: str, attempt: int, path: str, directory: Path) -> asyncio.Future[str]:
        """See `CheckpointRoute.keep`."""
        return resolved("")

    async def fetch(self, path: str) -> Path:
        """See `CheckpointRoute.fetch`."""
        # An absolute path stays what it is.
        return await verified(self._directory / path)

    def release(self, path: str) -> None:
        """See `CheckpointRoute.release`."""

    def forget(self, trial_dir: str) -> None:
        """See `CheckpointRoute.forget`."""

    async def close(self, patience: float) -> None:
        """See `CheckpointRoute.close`."""


def resolved(problem: str) -> asyncio.Future[str]:
    """What `CheckpointRoute.keep` returns when it is all over already."""
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
