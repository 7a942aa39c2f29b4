"""Stores, fetches and deletes checkpoints so that each one is either complete or absent.

The marker file lists a checkpoint's files. It is written last and deleted first, and every reader
compares the files with the list.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import MARKER, Manifest, publish, verify
from prefect_tune.error import CheckpointUnreadable, storage_errors
from prefect_tune.filesystem.location import join
from prefect_tune.filesystem.store import Store


class CheckpointStore:
    """Checkpoints of one experiment in a store; paths are relative to the experiment directory.

    Args:
        store: The experiment directory in storage.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, directory: str | os.PathLike[str], rel: str) -> None:
        """Store a complete checkpoint.

        Args:
            directory: A local directory that has its marker.
            rel: Path of the checkpoint; remains of an earlier checkpoint there are replaced.

        Raises:
            CheckpointUnreadable: If `directory` is not a complete checkpoint.
            StorageError: If the storage fails; then no checkpoint exists at `rel`.
        """
        source = Path(directory)
        problem = verify(source)
        if problem:
            raise CheckpointUnreadable(f"cannot store the checkpoint {source}: {problem}.")
        left_over = self._store.sizes(rel)
        if MARKER in left_over:
            # Without its marker it is no checkpoint any more, so its files may change.
            self._store.delete([join(rel, MARKER)])
        self._store.put_tree(source, rel, last=(MARKER,))
        manifest = Manifest.decode((source / MARKER).read_bytes())
        stale = left_over.keys() - manifest.files.keys() - {MARKER}
        self._store.delete(join(rel, name) for name in stale)

    def get(self, rel: str, directory: str | os.PathLike[str]) -> None:
        """Fetch a checkpoint; the local directory appears once its files are complete and verified.

        Args:
            rel: Path of the checkpoint.
            directory: The local directory to create; an existing one is replaced.

        Raises:
            CheckpointUnreadable: If the checkpoint is missing, incomplete or damaged.
            StorageError: If the storage fails.
        """
        target = Path(directory)
        temporary = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")
        try:
            with storage_errors(f"write {target}"):
                self._store.get_tree(rel, temporary)
                problem = verify(temporary)
                if problem:
                    url = self.url(rel)
                    raise CheckpointUnreadable(f"the checkpoint {url} is damaged: {problem}.")
                publish(temporary, target)
        finally:
            remove_tree(temporary)

    def delete(self, rel: str) -> None:
        """Delete a checkpoint, or the remains of one.

        Raises:
            StorageError: If the storage fails; the remains do not count as a checkpoint.
        """
        self._store.delete([join(rel, MARKER)])
        self._store.delete_tree(rel)

    def manifest(self, rel: str) -> Manifest | None:
        """Return the list of a checkpoint's files; None if there is no checkpoint at `rel`.

        Raises:
            CheckpointUnreadable: If the marker is damaged.
            StorageError: If the storage fails.
        """
        data = self._store.read(join(rel, MARKER))
        if data is None:
            return None
        try:
            return Manifest.decode(data)
        except ValueError as error:
            raise CheckpointUnreadable(f"the checkpoint {self.url(rel)}: {error}.") from None

    def is_complete(self, rel: str) -> bool:
        """Return True if a checkpoint exists with all its files.

        Raises:
            StorageError: If the storage fails.
        """
        try:
            manifest = self.manifest(rel)
        except CheckpointUnreadable:
            return False
        return manifest is not None and not manifest.mismatch(self._store.sizes(rel))

    def names(self, trial_dir: str) -> list[str]:
        """Return the names of a trial's checkpoints, oldest first.

        Args:
            trial_dir: The trial's directory.

        Raises:
            StorageError: If the storage fails.
        """
        parts = [name.split("/") for name in self._store.sizes(trial_dir)]
        return sorted(part[0] for part in parts if len(part) == 2 and part[1] == MARKER)

    def url(self, rel: str) -> str:
        """Return the URL of a checkpoint, for messages."""
        return (self._store.location / rel).url
