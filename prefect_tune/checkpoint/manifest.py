"""What makes a directory a checkpoint: the list of its files in `.is_checkpoint`.

A checkpoint exists if its directory holds this marker. Locally the directory appears complete, by a
rename; in an object store the marker is written last and deleted first. Whoever reads a checkpoint
compares its files with the list, so one that lost or truncated a file is never taken for good.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from prefect_tune.atomic_write import write_atomic
from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress

#: Name of the file that holds the manifest.
MARKER = ".is_checkpoint"
#: It, and what it is written to before it is whole.
_MARKERS = (MARKER, f".{MARKER}.tmp")
FORMAT = 1
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Manifest:
    """What belongs to a checkpoint.

    Attributes:
        files: Size in bytes of each file, by its path relative to the directory (``/`` as
            separator), without the marker itself.
        progress: How far the trial was.
        metadata: What the user attached.
        attempt: Number of the trial's attempt that wrote it; 0 if no trial did.
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
        """The content of the marker file.

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
        """The inverse of `encode`.

        Raises:
            ValueError: If it is not the content of a marker file; says why.
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

    @classmethod
    def of_directory_from_elsewhere(cls, data: bytes | None) -> Manifest | None:
        """As `decode`, for a directory that a user has brought along.

        Args:
            data: What the file called as the marker holds, None without one.

        Returns:
            None for the files of this name that others write, such as Ray Tune's empty ones.

        Raises:
            ValueError: If it is a marker file, but not a whole one.
        """
        return cls.decode(data) if data is not None and is_marker(data) else None

    def mismatch(self, sizes: Mapping[str, int]) -> str:
        """What is wrong with files of these sizes; "" if nothing is.

        Files that are not listed are nobody's business.
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
    """True if a relative path (``/`` as separator) stays below its directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def file_sizes(directory: str | os.PathLike[str]) -> dict[str, int]:
    """Sizes of the files of a checkpoint by relative path, without the marker.

    Links count as what they lead to; what is neither file nor directory (sockets, pipes, links to
    nowhere) does not count.

    Raises:
        OSError: If the directory cannot be read.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a directory")
    return dict(sorted(_files(root, "", frozenset())))


def _files(
    directory: Path, prefix: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, int]]:
    status = directory.stat()
    above |= {(status.st_dev, status.st_ino)}
    with os.scandir(directory) as entries:
        for entry in entries:
            if not prefix and entry.name in _MARKERS:
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield prefix + entry.name, status.st_size
            # A link to a directory above would go on for ever.
            elif stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in above:
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/", above)


def write_manifest(
    directory: str | os.PathLike[str],
    *,
    iteration: int = 0,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    attempt: int = 0,
) -> Manifest:
    """Make a directory a checkpoint that consists of the files it has now.

    Args:
        directory: A local directory.
        iteration: `training_iteration` it belongs to.
        metadata: What the user attached; JSON types only.
        progress: How far the trial was, in full; replaces `iteration`.
        attempt: Number of the trial's attempt that wrote it.

    Raises:
        TypeError: If the metadata has no JSON form.
        OSError: If the directory cannot be read or written.
    """
    reached = Progress(iteration) if progress is None else progress
    manifest = Manifest(file_sizes(directory), reached, dict(metadata or {}), attempt)
    replace_manifest(directory, manifest)
    return manifest


def replace_manifest(directory: str | os.PathLike[str], manifest: Manifest) -> None:
    """Write a manifest into its directory; readers see the old one or the new one.

    Raises:
        TypeError: If the metadata has no JSON form.
        OSError: If it cannot be written.
    """
    write_atomic(Path(directory, MARKER), manifest.encode())


def read_manifest(directory: str | os.PathLike[str]) -> Manifest | None:
    """The manifest of a local directory; None if it has none, or an unreadable one.

    `verify` tells the two apart.
    """
    try:
        return Manifest.decode(Path(directory, MARKER).read_bytes())
    except (OSError, ValueError):
        return None


def is_marker(data: bytes | None) -> bool:
    """Whether a file called as the marker is one of ours, be it damaged."""
    return data is not None and data.startswith(b"{")


def read_file(path: Path) -> bytes | None:
    """The content of a local file; None if there is none.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def verify(directory: str | os.PathLike[str]) -> str:
    """What keeps a local directory from being a complete checkpoint; "" if nothing does."""
    try:
        manifest = Manifest.decode(Path(directory, MARKER).read_bytes())
        return manifest.mismatch(file_sizes(directory))
    except (FileNotFoundError, NotADirectoryError):
        if Path(directory).is_dir():
            return f"it has no {MARKER}: it was not written to its end"
        return "there is no such directory"
    except (OSError, ValueError) as error:
        return str(error)


def commit(
    temporary: str | os.PathLike[str],
    final: str | os.PathLike[str],
    *,
    iteration: int = 0,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Make a complete temporary directory a checkpoint of its final name, all at once.

    Both have to be on one file system. Nothing is synced to disk: a checkpoint survives the death
    of any process, and one that a power failure has truncated does not pass `verify`.

    Args:
        temporary: The directory as written.
        final: Its name from now on.
        iteration: See `write_manifest`.
        metadata: See `write_manifest`.
        progress: See `write_manifest`.

    Raises:
        TypeError: If the metadata has no JSON form.
        OSError: If it cannot be written or renamed.
    """
    manifest = write_manifest(temporary, iteration=iteration, metadata=metadata, progress=progress)
    publish(temporary, final)
    return manifest


def publish(temporary: str | os.PathLike[str], final: str | os.PathLike[str]) -> None:
    """Give a directory that has its manifest its final name, in place of a leftover.

    Raises:
        OSError: If it cannot be renamed.
    """
    source, target = Path(temporary), Path(final)
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            raise
        # A directory with files in it cannot be replaced by one rename.
        # Not by the process alone: in a container, one that was killed in here had the same number.
        leftover = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
        target.rename(leftover)
        source.rename(target)
        remove_tree(leftover)


def _progress(body: Mapping[str, Any]) -> Progress:
    def number(name: str) -> Any:
        value = body.get(name)
        return value if type(value) in (int, float) else None

    iteration, seconds = body.get("iteration"), body.get("time_total_s")
    return Progress(
        iteration if type(iteration) is int else 0,
        seconds if type(seconds) is float else 0.0,
        number("timesteps_total"),
        number("episodes_total"),
    )
