"""Metadata that a user attaches to a checkpoint: kept in its manifest, or in a file before that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from prefect_tune.atomic_write import write_atomic
from prefect_tune.checkpoint.manifest import MARKER, Manifest, read_file
from prefect_tune.error import CheckpointUnreadable, InvalidArgument

#: Name of the metadata file of a directory without a manifest, as in Ray.
METADATA_FILE = ".metadata.json"


class CheckpointFiles(Protocol):
    """Files of a checkpoint, in a local directory or in a `Store`."""

    def read(self, path: str, /) -> bytes | None:
        """Read a file; None if it does not exist."""
        ...

    def write(self, path: str, data: bytes, /) -> object:
        """Replace a file, atomically."""
        ...


class LocalFiles:
    """Files of a checkpoint in a local directory.

    Args:
        directory: Directory of the checkpoint.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, path: str, /) -> bytes | None:
        """Read a file; None if it does not exist."""
        return read_file(self._directory / path)

    def write(self, path: str, data: bytes, /) -> None:
        """Replace a file, atomically."""
        write_atomic(self._directory / path, data)


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


def read_metadata(files: CheckpointFiles, source: object) -> dict[str, Any]:
    """Read the metadata of a checkpoint; {} if it has none.

    Args:
        files: Its files.
        source: Where they are, for errors.

    Raises:
        CheckpointUnreadable: If it is damaged.
        StorageError: If the storage fails.
        OSError: If a local file cannot be read.
    """
    manifest = _manifest(files, source)
    if manifest is not None:
        return dict(manifest.metadata)
    data = files.read(METADATA_FILE)
    if data is None:
        return {}
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointUnreadable(f"{source}/{METADATA_FILE}: {error}") from None
    if not isinstance(metadata, dict):
        raise CheckpointUnreadable(f"{source}/{METADATA_FILE} holds no dict")
    return metadata


def write_metadata(files: CheckpointFiles, source: object, metadata: Mapping[str, Any]) -> None:
    """Attach metadata to a checkpoint, replacing its current metadata.

    Args:
        files: Its files.
        source: Where they are, for errors.
        metadata: The new metadata.

    Raises:
        InvalidArgument: If `metadata` cannot be stored as JSON.
        CheckpointUnreadable: If the manifest is damaged.
        StorageError: If the storage fails.
        OSError: If a local file cannot be written.
    """
    content = encode_metadata(metadata)
    manifest = _manifest(files, source)
    if manifest is None:
        files.write(METADATA_FILE, content)
    else:
        files.write(MARKER, replace(manifest, metadata=dict(metadata)).encode())


def pop_metadata(directory: Path) -> dict[str, Any]:
    """Read and remove the metadata file of a directory that is about to get a manifest.

    Raises:
        CheckpointUnreadable: If it is damaged.
        OSError: If it cannot be read.
    """
    metadata = read_metadata(LocalFiles(directory), directory)
    with contextlib.suppress(FileNotFoundError):
        (directory / METADATA_FILE).unlink()
    return metadata


def _manifest(files: CheckpointFiles, source: object) -> Manifest | None:
    try:
        return Manifest.decode_foreign(files.read(MARKER))
    except ValueError as error:
        raise CheckpointUnreadable(f"{source}: {error}") from None
