"""`Store`: interface for reading and writing files at a location."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits, OutageWatch, Retry

# Strict, because users' files may also begin with a dot and contain ".tmp-".
_TEMPORARY = re.compile(r"\..*\.tmp-[0-9a-f]{8}")
#: Decides from a file's path and size whether to copy the file.
Wanted = Callable[[str, int], bool]


def temporary_name(name: str) -> str:
    """Return a temporary name for a file that will be renamed to `name` when it is complete."""
    return f".{name}.tmp-{uuid.uuid4().hex[:8]}"


def is_temporary(relative: str) -> bool:
    """Return True if a path is a temporary file or lies in a temporary directory."""
    return any(_TEMPORARY.fullmatch(part) for part in relative.split("/"))


def check_relative(relative: str) -> str:
    """Return a relative path unchanged after checking that it does not leave its base.

    Raises:
        ValueError: If the path is absolute, or has ``..`` or empty parts.
    """
    parts = relative.split("/")
    if posixpath.isabs(relative) or ".." in parts or (relative and "" in parts):
        raise ValueError(f"{relative!r} is not a path below the storage")
    return relative


def join(first: str, second: str) -> str:
    """Join two relative paths, either of which may be empty."""
    return f"{first}/{second}" if first and second else first or second


class Store(Protocol):
    """Files below one location; paths are relative, with ``/`` and without ``..``.

    Files are written atomically, even if the process is killed. Every method may be called
    from any thread. Requests that fail temporarily are retried within the limits that the store
    was opened with.

    Every method may raise:
        StorageUnavailable: If the storage did not answer in time.
        StorageError: If a retry cannot help: wrong credentials, no such bucket, read-only, no
            space left. The message names the URL, the problem and the remedy.
    """

    @property
    def location(self) -> Location:
        """The directory that paths are relative to."""

    def read(self, rel: str) -> bytes | None:
        """Read a whole file; None if it does not exist."""

    def write(self, rel: str, data: bytes) -> None:
        """Write or replace a file."""

    def sizes(self, rel: str = "") -> dict[str, int]:
        """Return paths (relative to `rel`) and sizes of all files below a directory.

        A directory that does not exist is empty. Temporary files are left out.
        """

    def exists(self, rel: str) -> bool:
        """Return True if a file exists; directories do not count."""

    def delete(self, rels: Iterable[str]) -> None:
        """Delete files, in parallel; missing files are ignored."""

    def delete_tree(self, rel: str) -> None:
        """Delete everything below a directory, if it exists."""

    def put_file(self, local: str | os.PathLike[str], rel: str) -> None:
        """Copy a local file to the store; an existing file is replaced."""

    def get_file(self, rel: str, local: str | os.PathLike[str]) -> None:
        """Copy a file to a local path, atomically; its directory is created.

        Raises:
            NotFound: If there is no such file.
        """

    def put_tree(
        self,
        local_dir: str | os.PathLike[str],
        rel: str,
        last: Iterable[str] = (),
        names: Iterable[str] | None = None,
    ) -> None:
        """Copy the files below a local directory to the store; other files there stay.

        Args:
            local_dir: The directory; symbolic links are followed.
            rel: Where the files go.
            last: Files (relative to `local_dir`) to copy after all others, in this order; missing
                ones are skipped.
            names: Files to copy (relative to `local_dir`); None copies all.
        """

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        """Copy the files below a directory to a local one, which is created; other files stay.

        Args:
            rel: Directory in the store.
            local_dir: The local directory.
            wanted: Selects files by path (relative to `rel`) and size; None copies all.
        """


def split_last(names: Iterable[str], last: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split the files that `Store.put_tree` copies into unordered and ordered ones.

    Args:
        names: All files.
        last: Files to copy after all others, in this order.

    Returns:
        The files to copy first, in any order, and the files to copy last, in the order of `last`.
    """
    all_names = list(names)
    known = frozenset(all_names)
    at_the_end = [name for name in last if name in known]
    held_back = frozenset(at_the_end)
    return [name for name in all_names if name not in held_back], at_the_end


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


def open_store(
    location: Location,
    limits: Limits | None = None,
    cancelled: threading.Event | None = None,
    watch: OutageWatch | None = None,
) -> Store:
    """Return the store for a location, without making a request to it.

    Args:
        location: The directory, local or remote.
        limits: Time limits of requests; None is `Limits()`.
        cancelled: Once it is set, requests that wait for a retry fail at once.
        watch: Is notified of outages.

    Raises:
        InvalidArgument: If fsspec does not know the URL's protocol, or its package is missing.
    """
    retry = Retry(limits or Limits(), cancelled or threading.Event(), watch)
    if location.is_local:
        from prefect_tune.filesystem.local import LocalStore

        return LocalStore(location, retry)
    from prefect_tune.filesystem.connect import check_protocol, protocol_of
    from prefect_tune.filesystem.providers import S3_PROTOCOLS
    from prefect_tune.filesystem.remote import RemoteStore

    protocol = protocol_of(location)
    check_protocol(protocol, "storage_path")
    if protocol in S3_PROTOCOLS:
        from prefect_tune.filesystem.s3 import S3Backend

        return RemoteStore(location, S3Backend(location), retry)
    from prefect_tune.filesystem.fsspec_backend import FsspecBackend

    return RemoteStore(location, FsspecBackend(location), retry)
