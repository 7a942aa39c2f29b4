"""Converts checkpoints between dicts, directories and remote storage."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import cloudpickle

from prefect_tune.checkpoint.manifest import (
    MARKER,
    file_sizes,
    is_inside,
    is_marker,
    read_manifest,
    verify,
    write_manifest,
)
from prefect_tune.checkpoint.metadata import METADATA_FILE, pop_metadata
from prefect_tune.error import CheckpointUnreadable
from prefect_tune.experiment.checkpoints import NO_PROGRESS
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import open_store

#: Name of the file with the pickled dict, as in Ray.
DICT_FILE = "dict_checkpoint.pkl"
#: Key of a dict for the other files of a directory, ``{relative path: content}``.
FILES_KEY = "_checkpoint_files"
#: Name of the file about how a class trainable saved its checkpoint; not a part of the dict.
SAVED_FILE = ".tune_metadata"


def write_dict(data: Mapping[str, Any], directory: Path) -> None:
    """Write a dict into a directory, from which `read_dict` can read it.

    Raises:
        Exception: If a value cannot be pickled.
        OSError: If the directory cannot be written.
    """
    files = data.get(FILES_KEY)
    if _is_file_map(files):
        write_files(files, directory)
        data = {key: value for key, value in data.items() if key != FILES_KEY}
        if not data:
            return
    with open(directory / DICT_FILE, "wb") as file:
        cloudpickle.dump(dict(data), file)


def read_dict(directory: Path) -> dict[str, Any]:
    """Read a directory as a dict: the pickled dict, with all other files below `FILES_KEY`.

    Raises:
        CheckpointUnreadable: If the pickled dict cannot be read.
        OSError: If a file cannot be read.
    """
    names = set(file_sizes(directory)) - {METADATA_FILE}
    data: dict[str, Any] = {}
    if DICT_FILE in names:
        data = load_dict(directory / DICT_FILE)
        names -= {DICT_FILE, SAVED_FILE}
        if not names:
            return data
    return {**data, FILES_KEY: read_files(directory, names)}


def load_dict(path: Path) -> dict[str, Any]:
    """Unpickle a dict from a file that you trust.

    Raises:
        CheckpointUnreadable: If the file cannot be unpickled or holds no dict.
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            data = pickle.load(file)
        except Exception as error:
            raise CheckpointUnreadable(
                f"{path} cannot be unpickled: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(data, dict):
        raise CheckpointUnreadable(f"{path} holds {type(data).__name__}, not a dict")
    return data


def read_files(directory: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read the named files of a directory.

    Raises:
        OSError: If a file cannot be read.
    """
    return {name: (directory / name).read_bytes() for name in sorted(names)}


def write_files(files: Mapping[str, bytes], directory: Path) -> None:
    """Write files into a directory.

    Raises:
        OSError: If a file cannot be written.
    """
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _is_file_map(value: object) -> TypeGuard[Mapping[str, bytes]]:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(content, bytes) and is_inside(name)
        for name, content in value.items()
    )


def download(location: Location, directory: Path) -> None:
    """Download a checkpoint, and verify its files if it has a manifest.

    Raises:
        CheckpointUnreadable: If the location is empty, or its files do not match the manifest.
        StorageError: If the storage fails.
    """
    open_store(location).get_tree("", directory)
    if is_marker(open_store(Location(str(directory))).read(MARKER)):
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
    progress = NO_PROGRESS if known is None else known.progress
    write_manifest(directory, progress, metadata=pop_metadata(directory))
    store = open_store(location)
    # Without its marker, a checkpoint at the location is incomplete until the new one is uploaded.
    store.delete([MARKER])
    store.put_tree(directory, "", last=(MARKER,))
