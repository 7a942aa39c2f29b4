"""Checkpoints in a store: each exists or it does not, and is whole when it is read.

The marker with the list of files is written last and deleted first; whoever reads compares.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import MARKER, Manifest, publish, verify
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.filesystem.names import join
from prefect_tune.filesystem.store import Store


class CheckpointStore:
    """The checkpoints of an experiment; all paths are relative to the experiment directory.

    Args:
        store: The experiment directory in storage.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, directory: str | os.PathLike[str], rel: str) -> None:
        """Store a complete checkpoint.

        Args:
            directory: A local directory that has its marker.
            rel: Where it goes; what is left there of one before is replaced.

        Raises:
            CheckpointUnreadable: If `directory` is not a complete checkpoint.
            StorageError: If the storage fails; then no checkpoint is there.
        """
        source = Path(directory)
        problem = verify(source)
        if problem:
            raise CheckpointUnreadable(f"cannot store the checkpoint {source}: {problem}.")
        left_over = self._store.sizes(rel)
        if MARKER in left_over:
            # First it is no checkpoint any more, then its files change.
            self._store.delete([join(rel, MARKER)])
        self._store.put_tree(source, rel, last=(MARKER,))
        manifest = Manifest.decode((source / MARKER).read_bytes())
        stale = left_over.keys() - manifest.files.keys() - {MARKER}
        self._store.delete(join(rel, name) for name in stale)

    def get(self, rel: str, directory: str | os.PathLike[str]) -> None:
        """Fetch a checkpoint; the local directory appears when it is complete and verified.

        Args:
            rel: Which one.
            directory: A local directory; one that is there already is replaced.

        Raises:
            CheckpointUnreadable: If it is not there, incomplete or damaged.
            StorageError: If the storage fails.
        """
        target = Path(directory)
        temporary = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")
        try:
            self._store.get_tree(rel, temporary)
            problem = verify(temporary)
            if problem:
                raise CheckpointUnreadable(f"the checkpoint {self.url(rel)} is damaged: {problem}.")
            publish(temporary, target)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror or error}.") from error
        finally:
            remove_tree(temporary)

    def delete(self, rel: str) -> None:
        """Delete a checkpoint, or what is left of one.

        Raises:
            StorageError: If the storage fails; what is left is no checkpoint.
        """
        self._store.delete([join(rel, MARKER)])
        self._store.delete_tree(rel)

    def manifest(self, rel: str) -> Manifest | None:
        """What belongs to a checkpoint, None if there is none.

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
        """True if a checkpoint is there with all its files.

        Raises:
            StorageError: If the storage fails.
        """
        try:
            manifest = self.manifest(rel)
        except CheckpointUnreadable:
            return False
        return manifest is not None and not manifest.mismatch(self._store.sizes(rel))

    def names(self, trial_dir: str) -> list[str]:
        """Names of the checkpoints of a trial, oldest first.

        Args:
            trial_dir: The trial's directory.

        Raises:
            StorageError: If the storage fails.
        """
        parts = [name.split("/") for name in self._store.sizes(trial_dir)]
        return sorted(part[0] for part in parts if len(part) == 2 and part[1] == MARKER)

    def url(self, rel: str) -> str:
        """Where a checkpoint is, for people."""
        return (self._store.location / rel).url
