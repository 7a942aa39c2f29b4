"""Checkpoints in storage that is not a local path."""

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
    """Fetch a directory; one that has a manifest has to match it.

    Raises:
        CheckpointUnreadable: If nothing is there, or not what the manifest lists.
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
    """Store a directory of our own, with a manifest of what it holds now.

    Raises:
        StorageError: If the storage fails.
        OSError: If the directory cannot be read.
    """
    known = read_manifest(directory)
    progress = None if known is None else known.progress
    write_manifest(directory, metadata=pop_metadata(directory), progress=progress)
    store = store_of(location)
    # What is there is no checkpoint any more from here on, until the new one is complete.
    store.delete([MARKER])
    store.put_tree(directory, "", last=(MARKER,))


def store_of(location: Location) -> Store:
    """The store of a checkpoint."""
    # fsspec is loaded by those who use it only: not by each trial process.
    from prefect_tune.filesystem.factory import open_store

    return open_store(location)
