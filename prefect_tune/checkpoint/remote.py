"""Checkpoints in storage that is not a local path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_tune.checkpoint.manifest import (
    MARKER,
    Manifest,
    is_marker,
    marker_of,
    read_manifest,
    verify,
    write_manifest,
)
from prefect_tune.checkpoint.metadata import (
    METADATA_FILE,
    decode_metadata,
    encode_metadata,
    pop_metadata,
)
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
    _store(location).get_tree("", directory)
    if is_marker(marker_of(directory)):
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
    store = _store(location)
    # What is there is no checkpoint any more from here on, until the new one is complete.
    store.delete([MARKER])
    store.put_tree(directory, "", last=(MARKER,))


def read_remote_metadata(location: Location) -> dict[str, Any]:
    """The metadata of a checkpoint in storage; {} if it has none.

    Raises:
        CheckpointUnreadable: If it is damaged.
        StorageError: If the storage fails.
    """
    store = _store(location)
    manifest = _manifest(store, location)
    if manifest is not None:
        return dict(manifest.metadata)
    data = store.read(METADATA_FILE)
    return {} if data is None else decode_metadata(data, location / METADATA_FILE)


def write_remote_metadata(location: Location, metadata: Mapping[str, Any]) -> None:
    """Attach metadata to a checkpoint in storage, in place of what it has.

    Raises:
        InvalidArgument: If it has no JSON form.
        CheckpointUnreadable: If the manifest is damaged.
        StorageError: If the storage fails.
    """
    content = encode_metadata(metadata)
    store = _store(location)
    manifest = _manifest(store, location)
    if manifest is None:
        store.write(METADATA_FILE, content)
    else:
        store.write(MARKER, replace(manifest, metadata=dict(metadata)).encode())


def _manifest(store: Store, location: Location) -> Manifest | None:
    try:
        return Manifest.of_directory_from_elsewhere(store.read(MARKER))
    except ValueError as error:
        raise CheckpointUnreadable(f"{location}: {error}") from None


def _store(location: Location) -> Store:
    # fsspec is loaded by those who use it only: not by each trial process.
    from prefect_tune.filesystem.factory import open_store

    return open_store(location)
