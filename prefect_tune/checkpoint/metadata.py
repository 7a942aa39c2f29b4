"""What a user attaches to a checkpoint: in its manifest, or in a file until it has one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.manifest import Manifest, marker_of, replace_manifest
from prefect_tune.error import CheckpointUnreadable, InvalidArgument

#: Holds the metadata of a directory that is not (yet) a complete checkpoint; named as Ray's.
METADATA_FILE = ".metadata.json"


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Metadata as JSON.

    Raises:
        InvalidArgument: If it is no dict, or has no JSON form.
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


def decode_metadata(data: bytes, source: object) -> dict[str, Any]:
    """The inverse of `encode_metadata`; `source` says in errors where the data is from.

    Raises:
        CheckpointUnreadable: If it is damaged.
    """
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointUnreadable(f"{source}: {error}") from None
    if not isinstance(metadata, dict):
        raise CheckpointUnreadable(f"{source} holds no dict")
    return metadata


def read_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of a local directory; {} if it has none.

    Raises:
        CheckpointUnreadable: If it is damaged.
        OSError: If it cannot be read.
    """
    manifest = _manifest(directory)
    if manifest is not None:
        return dict(manifest.metadata)
    path = directory / METADATA_FILE
    try:
        return decode_metadata(path.read_bytes(), path)
    except FileNotFoundError:
        return {}


def write_metadata(directory: Path, metadata: Mapping[str, Any]) -> None:
    """Attach metadata to a local directory, in place of what it has.

    Raises:
        InvalidArgument: If it has no JSON form.
        CheckpointUnreadable: If the directory's manifest is damaged.
        OSError: If it cannot be written.
    """
    content = encode_metadata(metadata)
    manifest = _manifest(directory)
    if manifest is not None:
        replace_manifest(directory, replace(manifest, metadata=dict(metadata)))
        return
    temporary = directory / f"{METADATA_FILE}.tmp-{os.getpid()}"
    temporary.write_bytes(content)
    temporary.replace(directory / METADATA_FILE)


def pop_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of a directory that is about to get a manifest; removes its file.

    Raises:
        CheckpointUnreadable: If it is damaged.
        OSError: If it cannot be read.
    """
    metadata = read_metadata(directory)
    with contextlib.suppress(FileNotFoundError):
        (directory / METADATA_FILE).unlink()
    return metadata


def _manifest(directory: Path) -> Manifest | None:
    try:
        return Manifest.of_directory_from_elsewhere(marker_of(directory))
    except ValueError as error:
        raise CheckpointUnreadable(f"{directory}: {error}") from None
