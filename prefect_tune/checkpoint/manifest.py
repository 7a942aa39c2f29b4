"""The manifest of a checkpoint: the list of its files in the marker file `.is_checkpoint`.

A directory is a checkpoint if it holds this marker. Locally the directory appears complete, by a
rename; in an object store the marker is written last and deleted first. Every reader compares the
files with the list, so a checkpoint with a missing or truncated file is never used.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from prefect_tune.atomic_write import write_atomic
from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress
from prefect_tune.filesystem.local import walk_files

#: Name of the file that holds the manifest.
MARKER = ".is_checkpoint"
#: The marker and its temporary file.
_MARKERS = (MARKER, f".{MARKER}.tmp")
FORMAT = 1
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Manifest:
    """List of a checkpoint's files, with the trial's progress and the user's metadata.

    Attributes:
        files: Size in bytes of each file, by its path relative to the directory (``/`` as
            separator), without the marker itself.
        progress: Iterations, steps and time of the trial so far.
        metadata: Metadata from the user.
        attempt: Number of the trial's attempt that wrote the checkpoint; 0 if no trial did.
    """

    files: Mapping[str, int]
    progress: Progress = NO_PROGRESS
    metadata: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0

    @property
    def iteration(self) -> int:
        """`training_iteration` of the result that the checkpoint belongs to."""
        return self.progress.iteration

    def encode(self) -> bytes:
        """Encode the manifest as the content of the marker file.

        Raises:
            TypeError: If the metadata has no JSON form.
        """
        body = {
            "format": FORMAT,
            "files": dict(self.files),
            **asdict(self.progress),
            "metadata": dict(self.metadata),
            "attempt": self.attempt,
        }
        return json.dumps(body).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Parse the content of a marker file.

        Raises:
            ValueError: If `data` is not the content of a marker file; the message says why.
        """
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{MARKER} is not readable ({error})") from None
        if not isinstance(body, dict) or type(body.get("format")) is not int:
            raise ValueError(f"{MARKER} is not the list of a checkpoint's files")
        if body["format"] > FORMAT:
            raise ValueError(
                f"{MARKER} has format {body['format']}; this version reads up to {FORMAT}"
            )
        files, metadata = body.get("files"), body.get("metadata", {})
        if not isinstance(files, dict) or not isinstance(metadata, dict):
            raise ValueError(f"{MARKER} is not the list of a checkpoint's files")
        for name, size in files.items():
            if type(size) is not int or size < 0 or not is_inside(name):
                raise ValueError(f"{MARKER} lists {name!r} with the size {size!r}")
        attempt = body.get("attempt")
        return cls(files, _progress(body), metadata, attempt if type(attempt) is int else 0)

    def mismatch(self, sizes: Mapping[str, int]) -> str:
        """Return which files are missing or have a wrong size; "" if all match.

        Files that are not listed are ignored.
        """
        wrong = []
        for name, size in self.files.items():
            found = sizes.get(name)
            if found is None:
                wrong.append(f"{name} is missing")
            elif found != size:
                wrong.append(f"{name} has {found} bytes instead of {size}")
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return ", ".join(wrong[:_SHOWN]) + more


def is_inside(name: str) -> bool:
    """Return True if a relative path (``/`` as separator) stays below its directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def file_sizes(directory: str | os.PathLike[str]) -> dict[str, int]:
    """Return the sizes of a checkpoint's files by relative path, without the marker.

    Links are followed; sockets, pipes and broken links are ignored.

    Raises:
        OSError: If the directory cannot be read.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a directory")
    sizes = ((name, status.st_size) for name, status in walk_files(root))
    return {name: size for name, size in sorted(sizes) if name.split("/")[0] not in _MARKERS}


def write_manifest(
    directory: str | os.PathLike[str],
    progress: Progress = NO_PROGRESS,
    *,
    metadata: Mapping[str, Any] | None = None,
    attempt: int = 0,
) -> Manifest:
    """Write the manifest of a directory, which makes a checkpoint of its current files.

    Args:
        directory: A local directory.
        progress: Iterations, steps and time of the trial.
        metadata: Metadata from the user; JSON types only.
        attempt: Number of the trial's attempt that wrote the checkpoint.

    Raises:
        TypeError: If the metadata has no JSON form.
        OSError: If the directory cannot be read or written.
    """
    manifest = Manifest(file_sizes(directory), progress, dict(metadata or {}), attempt)
    write_atomic(Path(directory, MARKER), manifest.encode())
    return manifest


def read_manifest(directory: str | os.PathLike[str]) -> Manifest | None:
    """Read the manifest of a local directory; None if it is missing or unreadable.

    `verify` distinguishes the two cases.
    """
    try:
        return Manifest.decode(Path(directory, MARKER).read_bytes())
    except (OSError, ValueError):
        return None


def is_marker(data: bytes | None) -> TypeGuard[bytes]:
    """Return True if a marker file's content is ours, though maybe damaged, and not Ray Tune's."""
    return data is not None and data.startswith(b"{")


def verify(directory: str | os.PathLike[str]) -> str:
    """Return why a local directory is not a complete checkpoint; "" if it is one."""
    try:
        manifest = Manifest.decode(Path(directory, MARKER).read_bytes())
        return manifest.mismatch(file_sizes(directory))
    except (FileNotFoundError, NotADirectoryError):
        if Path(directory).is_dir():
            return f"it has no {MARKER}: it was not written to its end"
        return "there is no such directory"
    except (OSError, ValueError) as error:
        return str(error)


def publish(temporary: str | os.PathLike[str], final: str | os.PathLike[str]) -> None:
    """Rename a directory that has its manifest to its final name, replacing an older directory.

    Both names must be on one file system. Nothing is synced to disk: a checkpoint survives the
    death of any process, and one that a power failure has truncated does not pass `verify`.

    Raises:
        OSError: If the directory cannot be renamed.
    """
    source, target = Path(temporary), Path(final)
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            raise
        # A rename cannot replace a directory that is not empty. The name is random, because
        # a process that was killed here may have had the same id, in a container.
        leftover = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
        target.rename(leftover)
        source.rename(target)
        remove_tree(leftover)


def _progress(body: Mapping[str, Any]) -> Progress:
    def number(name: str, *kinds: type, default: Any = None) -> Any:
        value = body.get(name)
        return value if type(value) in kinds else default

    return Progress(
        number("iteration", int, default=0),
        number("time_total_s", float, default=0.0),
        number("timesteps_total", int, float),
        number("episodes_total", int, float),
    )
