"""The checkpoint of the `restore` argument, from which every trial's first attempt starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import (
    MARKER,
    Manifest,
    file_sizes,
    is_marker,
    publish,
    write_manifest,
)
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress, TrialCheckpoint
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.filesystem.store import open_store

#: Path below the experiment directory of a checkpoint that nodes cannot read at its own place.
_PLACE = "restored_from/checkpoint_000000"
_GIVE = "Give a checkpoint's directory, its URL, or a Checkpoint."


@dataclass(frozen=True, slots=True)
class RestoreFrom:
    """The checkpoint that trials start from.

    Attributes:
        found: The checkpoint, if nodes can read it where it is.
        given: The user's checkpoint, if it first has to be copied into the experiment directory.
        progress: How far its trial had got, if that is known.
    """

    found: TrialCheckpoint | None = None
    given: Checkpoint | None = field(default=None, compare=False)
    progress: Progress = NO_PROGRESS

    def copy_to(self, experiment_dir: Path) -> TrialCheckpoint | None:
        """Return the checkpoint, copied into the experiment directory if that is needed.

        Args:
            experiment_dir: The experiment directory; exists.

        Raises:
            StorageError: If the checkpoint cannot be fetched.
            OSError: If the copy cannot be written.
        """
        if self.given is None:
            return self.found
        target = experiment_dir / _PLACE
        temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
        try:
            self.given.to_directory(temporary)
            metadata = self.given.get_metadata()
            write_manifest(temporary, self.progress, metadata=metadata)
            publish(temporary, target)
        finally:
            remove_tree(temporary)
        return TrialCheckpoint(str(target), self.progress)


def parse_restore(restore: Any) -> RestoreFrom | None:
    """Find the checkpoint that the user gave as `restore`.

    Args:
        restore: A path or URL of a checkpoint, or a `Checkpoint`; None returns None.

    Raises:
        InvalidArgument: If there is no checkpoint, or an incomplete one.
        StorageError: If the storage does not answer.
    """
    if restore is None:
        return None
    if isinstance(restore, Checkpoint):
        kind, place = restore.get_internal_representation()
        if kind == "data_dict":
            return RestoreFrom(given=restore)
        restore = place
    if not isinstance(restore, (str, os.PathLike)) or not os.fspath(restore):
        raise InvalidArgument("restore", f"got {restore!r}.", _GIVE)
    location = parse_location(restore, "restore")
    if location.is_local:
        location = Location(str(_directory_of(Path(location.path))))
    store = open_store(location)
    marker = store.read(MARKER)
    sizes = file_sizes(location.path) if location.is_local else store.sizes("")
    if marker is None and not sizes:
        raise InvalidArgument("restore", f"there is nothing in {location}.", _GIVE)
    if not is_marker(marker):
        # Not written by this package: there is no file list to check it against.
        return RestoreFrom(given=Checkpoint.at_location(location))
    try:
        manifest = Manifest.decode(marker)
        problem = manifest.mismatch(sizes)
    except ValueError as error:
        manifest, problem = None, str(error)
    if manifest is None or problem:
        raise InvalidArgument("restore", f"{location} is no complete checkpoint: {problem}.", _GIVE)
    if location.is_local:
        return RestoreFrom(TrialCheckpoint(location.path, manifest.progress))
    return RestoreFrom(given=Checkpoint.at_location(location), progress=manifest.progress)


def _directory_of(path: Path) -> Path:
    """Return the directory of a checkpoint on this machine, if there is one.

    Raises:
        InvalidArgument: If there is none.
    """
    if path.is_file() and (path.parent / MARKER).exists():
        # Ray 1 named a file in the checkpoint's directory.
        path = path.parent
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InvalidArgument("restore", f"{path} {what}.", _GIVE)
    if not any(path.iterdir()):
        raise InvalidArgument("restore", f"{path} is empty.", _GIVE)
    return path
