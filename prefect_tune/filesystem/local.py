"""Files of a local directory or of a mounted file system."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from prefect_tune.filesystem.backend import Entry, Part, Upload
from prefect_tune.filesystem.location import Location, is_temporary, join, temporary_name


class LocalBackend:
    """`Backend` of a directory on this machine.

    Args:
        location: A local directory; created when the first file is written.
    """

    def __init__(self, location: Location) -> None:
        self._root = Path(location.path)

    def read(self, path: str, timeout: float) -> bytes:
        return (self._root / path).read_bytes()

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Read bytes of a file; files here have no versions."""
        with open(self._root / path, "rb") as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, path: str, data: bytes, timeout: float) -> None:
        target, new = self._names(path)
        try:
            new.write_bytes(data)  # a full disk raises before the file gets its name
            os.replace(new, target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def list_page(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """List all files below a path on one page."""
        found = walk_files(self._root / path)
        entries = {name: Entry(status.st_size) for name, status in found if not is_temporary(name)}
        return {join(path, name): entry for name, entry in entries.items()}, ""

    def delete(self, path: str, timeout: float) -> None:
        (self._root / path).unlink()

    def remove_directories(self, path: str, timeout: float) -> None:
        shutil.rmtree(self._root / path)

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        target, new = self._names(path)

        def send(timeout: float) -> None:
            shutil.copyfile(local, new)

        return Upload(
            [Part(size, send)],
            finish=lambda timeout: os.replace(new, target),
            abort=lambda timeout: new.unlink(missing_ok=True),
        )

    def _names(self, path: str) -> tuple[Path, Path]:
        """Return a file's path and a temporary one beside it, and create their directory."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target, target.with_name(temporary_name(target.name))


def local_files(directory: Path) -> list[str]:
    """Return the sorted paths of all files below a local directory, relative to it.

    Symbolic links are followed, except for links to a parent directory.

    Raises:
        OSError: If the directory does not exist or cannot be read.
    """
    return sorted(name for name, _ in walk_files(directory))


def walk_files(
    directory: Path, prefix: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield relative path and status of all files below a local directory, following links.

    Args:
        directory: The directory.
        prefix: Prefix of the relative paths.
        above: Device and inode of the parent directories, to which links are not followed.

    Raises:
        OSError: If the directory does not exist or cannot be read.
    """
    status = directory.stat()
    above |= {(status.st_dev, status.st_ino)}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield prefix + entry.name, status
            elif stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in above:
                yield from walk_files(Path(entry.path), f"{prefix}{entry.name}/", above)
