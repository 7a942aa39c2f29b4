"""A node's copies of stored checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from prefect_tune.checkpoint.files import remove_tree

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
        self._over: set[str] = set()

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
        self._over.add(trial_dir)
        self._delete_unneeded(trial_dir)

    async def close(self) -> None:
        """Wait until all deletions are done."""
        while self._deleting:
            await asyncio.wait(self._deleting)

    def _delete_unneeded(self, trial_dir: str) -> None:
        paths = [path for path in self._copies if posixpath.dirname(path) == trial_dir]
        if trial_dir in self._over:
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
