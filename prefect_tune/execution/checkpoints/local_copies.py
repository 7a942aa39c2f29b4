"""The copies that a node has of checkpoints which are in storage."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from prefect_tune.checkpoint.files import remove_tree

#: How many of a trial: the one to go on from, and the one before in case it cannot be read.
COPIES_PER_TRIAL = 2


@dataclass(slots=True)
class _Copy:
    directory: Path
    stored: bool


class LocalCopies:
    """Remembers the copies and deletes the older ones. Belongs to the event loop of the node."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}  # oldest first
        self._users: Counter[str] = Counter()
        self._deleting: set[asyncio.Task[None]] = set()
        self._over: set[str] = set()

    def add(self, path: str, directory: Path, *, stored: bool = True) -> None:
        """Count a copy as the newest of its trial.

        Args:
            path: The checkpoint's path relative to the experiment directory.
            directory: The copy.
            stored: False if it could not be stored, and this is all there is of it.
        """
        self._copies.pop(path, None)
        self._copies[path] = _Copy(directory, stored)
        self._delete_unneeded(posixpath.dirname(path))

    def find(self, path: str) -> Path | None:
        """The copy of a checkpoint, if there is one; it need not be complete any more."""
        copy = self._copies.get(path)
        return None if copy is None else copy.directory

    def use(self, path: str) -> None:
        """Do not delete the copy of a checkpoint, now or to come, before its `release`."""
        self._users[path] += 1

    def release(self, path: str) -> None:
        """The counterpart of `use`."""
        self._users[path] -= 1
        if self._users[path] <= 0:
            del self._users[path]
            self._delete_unneeded(posixpath.dirname(path))

    def drop(self, trial_dir: str) -> None:
        """Delete the copies of a trial that is over, but for what could not be stored."""
        self._over.add(trial_dir)
        self._delete_unneeded(trial_dir)

    async def close(self) -> None:
        """Wait until what is being deleted is gone."""
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
    # Whoever else looks at the directory finds a checkpoint or none, never a part of one.
    doomed = directory.with_name(f".{directory.name}.old-{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        directory.rename(doomed)
        await asyncio.to_thread(remove_tree, doomed)
