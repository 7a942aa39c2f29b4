"""The seam between everything that keeps files and where they are kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from prefect_tune.filesystem.location import Location

#: Chooses files by path and bytes.
Wanted = Callable[[str, int], bool]


class Store(Protocol):
    """Files below one location, named by paths relative to it, with ``/`` and without ``..``.

    A file appears whole or not at all, also if the process is killed. Every method may be called
    from any thread; what fails and may pass is tried again within the limits the store was opened
    with.

    Every method may raise:
        StorageUnavailable: If the storage did not answer in time.
        StorageError: If trying again cannot help: wrong credentials, no such bucket, read-only, no
            space left. It names the URL, what is wrong and what would be right.
    """

    @property
    def location(self) -> Location:
        """Where it is."""
        ...

    def read(self, rel: str) -> bytes | None:
        """All of a file, None if there is none."""
        ...

    def write(self, rel: str, data: bytes) -> None:
        """Write a file, or replace it."""
        ...

    def sizes(self, rel: str = "") -> dict[str, int]:
        """Files below a directory, at any depth: paths relative to it, and bytes.

        A directory that does not exist is empty. Temporary files are left out.
        """
        ...

    def exists(self, rel: str) -> bool:
        """True if there is such a file; directories are not asked for."""
        ...

    def delete(self, rels: Iterable[str]) -> None:
        """Delete files, in parallel; those that do not exist are deleted already."""
        ...

    def delete_tree(self, rel: str) -> None:
        """Delete everything below a directory; it may not exist."""
        ...

    def put_file(self, local: str | os.PathLike[str], rel: str) -> None:
        """Copy a local file here, or replace what is here."""
        ...

    def get_file(self, rel: str, local: str | os.PathLike[str]) -> None:
        """Copy a file to a local path, which appears whole; its directory is made.

        Raises:
            NotFound: If there is no such file.
        """
        ...

    def put_tree(
        self,
        local_dir: str | os.PathLike[str],
        rel: str,
        last: Iterable[str] = (),
        names: Iterable[str] | None = None,
    ) -> None:
        """Copy the files below a local directory here; other files that are here stay.

        Args:
            local_dir: The directory; symbolic links are followed.
            rel: Where the files go.
            last: Files (relative to `local_dir`) that appear after all others, in this order; those
                that do not exist are passed over.
            names: Only these files (relative to `local_dir`); None is all.
        """
        ...

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        """Copy the files below a directory to a local one, which is made; other files stay.

        Args:
            rel: Where the files are.
            local_dir: Where they go.
            wanted: Takes a file's path relative to `rel` and its bytes; None is all.
        """
        ...


def in_order(names: Iterable[str], last: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split the files that `Store.put_tree` copies.

    Args:
        names: All of them.
        last: Those that appear when all others are there, in this order.

    Returns:
        Those that may be copied in any order, and those that appear after them, in theirs.
    """
    all_names = list(names)
    known = frozenset(all_names)
    at_the_end = [name for name in last if name in known]
    held_back = frozenset(at_the_end)
    return [name for name in all_names if name not in held_back], at_the_end


def local_files(directory: Path) -> list[str]:
    """Files below a local directory, sorted, relative to it and with ``/``.

    Links count as what they lead to; a link to a directory above is passed over.

    Raises:
        OSError: If it is not there or cannot be read.
    """
    return sorted(_files(directory, "", frozenset()))


def _files(directory: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = directory.stat()
    above |= {(status.st_dev, status.st_ino)}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield prefix + entry.name
            elif stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in above:
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/", above)
