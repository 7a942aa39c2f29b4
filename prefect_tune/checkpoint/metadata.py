"""Metadata that a user attaches to a checkpoint: kept in its manifest, or in a file before that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.manifest import MARKER, Manifest, is_marker
from prefect_tune.error import CheckpointUnreadable, InvalidArgument
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Store, open_store

#: Name of the metadata file of a directory without a manifest, as in Ray.
METADATA_FILE = ".metadata.json"


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Encode metadata as JSON.

    Raises:
        InvalidArgument: If `metadata` is no dict, or cannot be stored as JSON.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidArgument(
            "metadata", f"got {type(metadata).__name__} ({metadata!r:.80}).", "It is a dict."
        )
    try:
        return json.dumps(dict(metadata)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            "metadata", f"cannot be stored as JSON: {error}.", "Use numbers, texts, lists, dicts."
        ) from error


def read_metadata(files: Store) -> dict[str, Any]:
    """Read the metadata of a checkpoint; {} if it has none.

    Args:
        files: Its files.

    Raises:
        CheckpointUnreadable: If it is damaged.
        StorageError: If the storage fails.
    """
    manifest = _manifest(files)
    if manifest is not None:
        return dict(manifest.metadata)
    data = files.read(METADATA_FILE)
    if data is None:
        return {}
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointUnreadable(f"{files.location}/{METADATA_FILE}: {error}") from None
    if not isinstance(metadata, dict):
        raise CheckpointUnreadable(f"{files.location}/{METADATA_FILE} holds no dict")
    return metadata


def write_metadata(files: Store, metadata: Mapping[str, Any]) -> None:
    """Attach metadata to a checkpoint, replacing its current metadata.

    Args:
        files: Its files.
        metadata: The new metadata.

    Raises:
        InvalidArgument: If `metadata` cannot be stored as JSON.
        CheckpointUnreadable: If the manifest is damaged.
        StorageError: If the storage fails.
    """
    content = encode_metadata(metadata)
    manifest = _manifest(files)
    if manifest is None:
        files.write(METADATA_FILE, content)
    else:
        files.write(MARKER, replace(manifest, metadata=dict(metadata)).encode())


def pop_metadata(directory: Path) -> dict[str, Any]:
    """Read and remove the metadata file of a directory that is about to get a manifest.

    Raises:
        CheckpointUnreadable: If it is damaged.
        StorageError: If it cannot be read.
        OSError: If it cannot be removed.
    """
    metadata = read_metadata(open_store(Location(str(directory))))
    (directory / METADATA_FILE).unlink(missing_ok=True)
    return metadata


def _manifest(files: Store) -> Manifest | None:
    data = files.read(MARKER)
    if not is_marker(data):  # a directory may come from Ray Tune, whose file of this name is empty
        return None
    try:
        return Manifest.decode(data)
    except ValueError as error:
        raise CheckpointUnreadable(f"{files.location}: {error}") from None
