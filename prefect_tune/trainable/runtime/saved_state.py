"""Stores the return value of a class trainable's `save_checkpoint` in the checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.conversion import DICT_FILE, SAVED_FILE, load_dict, write_dict
from prefect_tune.checkpoint.manifest import read_manifest
from prefect_tune.error import CheckpointUnreadable, InvalidTrainable, storage_errors
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress
from prefect_tune.trainable.runtime.result_codec import encode_result

_DICT, _PATH = "dict", "path"


def write_saved(saved: Any, directory: Path, progress: Progress, owner: str) -> None:
    """Store in a checkpoint's directory what `save_checkpoint` returned.

    Args:
        saved: The return value: a dict, which is written to a file; a path in `directory`; or None.
        directory: The directory that `save_checkpoint` has written into.
        progress: Iterations, steps and time of the trainable so far.
        owner: Name of the trainable's class, for errors.

    Raises:
        InvalidTrainable: If `saved` is something else, or a path outside `directory`.
        StorageError: If the directory cannot be written.
    """
    note = {"saved": _PATH, "path": ".", **asdict(progress)}
    if isinstance(saved, Mapping):
        note["saved"] = _DICT
    elif isinstance(saved, (str, os.PathLike)):
        note["path"] = _relative(Path(saved), directory, owner)
    elif saved is not None:
        raise InvalidTrainable(
            "trainable",
            f"{owner}.save_checkpoint() returned {type(saved).__name__} ({saved!r:.80}).",
            "It returns a dict, the path of what it wrote, or nothing.",
        )
    with storage_errors(f"write the checkpoint {directory}"):
        if isinstance(saved, Mapping):
            write_dict(saved, directory)
        (directory / SAVED_FILE).write_bytes(encode_result(note))


def read_saved(directory: Path) -> tuple[Any, Progress]:
    """Return the argument for `load_checkpoint`, and the trainable's progress.

    For a directory that no class trainable has written, the argument is the directory, or the dict
    that it was made from.

    Raises:
        CheckpointUnreadable: If the directory is damaged.
        OSError: If the directory cannot be read.
    """
    try:
        note = json.loads((directory / SAVED_FILE).read_text())
        progress = Progress(*(note[name] for name in asdict(NO_PROGRESS)))
        kind, path = note["saved"], directory / note["path"]
    except FileNotFoundError:
        manifest = read_manifest(directory)
        progress = NO_PROGRESS if manifest is None else manifest.progress
        kind = _DICT if (directory / DICT_FILE).exists() else _PATH
        path = directory
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointUnreadable(f"{directory / SAVED_FILE} is damaged: {error}") from None
    if kind == _DICT:
        return load_dict(directory / DICT_FILE), progress
    return str(path), progress


def saved_path(directory: Path) -> str:
    """Return where the path that `save_checkpoint` returned is now; else the directory itself.

    Args:
        directory: Directory of a checkpoint of any kind of trainable.
    """
    try:
        note = json.loads((directory / SAVED_FILE).read_text())
        return os.path.normpath(os.path.join(directory, str(note["path"])))
    except (OSError, ValueError, KeyError, TypeError):
        return str(directory)


def directory_of(path: Path) -> Path:
    """Return the checkpoint's directory that a path is or lies in; the path itself if none."""
    for directory in (path, *path.parents):
        if (directory / SAVED_FILE).is_file():
            return directory
    return path


def _relative(saved: Path, directory: Path, owner: str) -> str:
    # The path need not exist: TensorFlow's savers return a prefix of file names.
    root = directory.resolve()
    for candidate in (Path.cwd() / saved, directory / saved):
        try:
            return str(candidate.resolve().relative_to(root))
        except ValueError:
            continue
    raise InvalidTrainable(
        "trainable",
        f"{owner}.save_checkpoint() returned {str(saved)!r}, which is not in the directory that it "
        f"was given, {str(directory)!r}.",
        "Write the checkpoint into that directory.",
    )
