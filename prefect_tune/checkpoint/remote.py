"""Downloads and uploads checkpoints in remote storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect_tune.checkpoint.manifest import (
    MARKER,
    is_marker,
    read_file,
    read_manifest,
    verify,
    write_manifest,
)
from prefect_tune.checkpoint.metadata import pop_metadata
from prefect_tune.error import CheckpointUnreadable
from prefect_tune.filesystem.location import Location

if TYPE_CHECKING:
    from prefect_tune.filesystem.store import Store


def download(location: Location, directory: Path) -> None:
    """Download a checkpoint, and verify its files if it has a manifest.

    Raises:
        CheckpointUnreadable: If the location is empty, or its files do not match the manifest.
        StorageError: If the storage fails.
    """
    store_of(location).get_tree("", directory)
    if is_marker(read_file(directory / MARKER)):
        problem = verify(directory)
        if problem:
            raise CheckpointUnreadable(f"The checkpoint {location} is damaged: {problem}.")
    elif not any(directory.iterdir()):
        raise CheckpointUnreadable(f"There is no checkpoint at {location}.")


def upload(directory: Path, location: Location) -> None:
    """Write the manifest of a temporary directory and upload it as a complete checkpoint.

    Raises:
        StorageError: If the storage fails.
        OSError: If the directory cannot be read.
    """
    known = read_manifest(directory)
    progress = None if known is None else known.progress
    write_manifest(directory, metadata=pop_metadata(directory), progress=progress)
    store = store_of(location)
    # Without its marker, a checkpoint at the location is incomplete until the new one is uploaded.
    store.delete([MARKER])
    store.put_tree(directory, "", last=(MARKER,))


def store_of(location: Location) -> Store:
    """Return the store for a checkpoint's location."""
    # Imported here because most trial processes do not need fsspec.
    from prefect_tune.filesystem.factory import open_store

    return open_store(location)
