"""`Store`: reads and writes files at a location, local or remote, with retries."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from prefect_tune.error import StorageError
from prefect_tune.filesystem.backend import Backend, Entry
from prefect_tune.filesystem.failures import NotFound
from prefect_tune.filesystem.local import LocalBackend, local_files
from prefect_tune.filesystem.location import Location, check_relative, join
from prefect_tune.filesystem.retry import Call, Limits, OutageWatch, Retry
from prefect_tune.filesystem.transfers import download_files, run_all, upload_files, writing

T = TypeVar("T")
#: Decides from a file's path and size whether to copy the file.
Wanted = Callable[[str, int], bool]


@dataclass(eq=False)
class Store:
    """Files below one location; paths are relative, with ``/`` and without ``..``.

    Files are written atomically, even if the process is killed. Every method may be called
    from any thread. Requests that fail temporarily are retried within the limits that the store
    was opened with.

    Every method may raise:
        StorageUnavailable: If the storage did not answer in time.
        StorageError: If a retry cannot help: wrong credentials, no such bucket, read-only, no
            space left. The message names the URL, the problem and the remedy.

    Args:
        location: The directory that paths are relative to.
        backend: Makes the requests, without retries.
        retry: Retries requests that fail temporarily.
    """

    location: Location
    backend: Backend
    retry: Retry

    def read(self, rel: str) -> bytes | None:
        """Read a whole file; None if it does not exist."""
        check_relative(rel)
        try:
            return self._request("read", rel, partial(self.backend.read, rel))
        except NotFound:
            return None

    def write(self, rel: str, data: bytes) -> None:
        """Write or replace a file."""
        check_relative(rel)
        self._request("write", rel, partial(self.backend.write, rel, data), size=len(data))

    def sizes(self, rel: str = "") -> dict[str, int]:
        """Return paths (relative to `rel`) and sizes of all files below a directory.

        A directory that does not exist is empty. Temporary files are left out.
        """
        return {name: entry.size for name, entry in self._list(self.retry.begin(), rel).items()}

    def delete(self, rels: Iterable[str]) -> None:
        """Delete files, in parallel; missing files are ignored."""
        self._delete(self.retry.begin(), [check_relative(rel) for rel in rels])

    def delete_tree(self, rel: str) -> None:
        """Delete everything below a directory, if it exists."""
        call = self.retry.begin()
        check_relative(rel)
        if not self.location.is_local:  # there one call removes all
            self._delete(call, [join(rel, name) for name in self._list(call, rel)])
        self._run_delete(call, rel, partial(self.backend.remove_directories, rel))

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
        check_relative(rel)
        source = Path(local_dir)
        call = self.retry.begin()
        if names is None:
            names = call.run("read", str(source), lambda timeout: local_files(source))
        chosen = dict.fromkeys(names)
        at_the_end = [name for name in last if name in chosen]
        first = [name for name in chosen if name not in at_the_end]
        for group in (first, *([name] for name in at_the_end)):
            files = [(source / name, join(rel, name)) for name in group]
            upload_files(call, self.backend, self.location, files)

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        """Copy the files below a directory to a local one, which is created; other files stay.

        Args:
            rel: Directory in the store.
            local_dir: The local directory.
            wanted: Selects files by path (relative to `rel`) and size; None copies all.
        """
        call = self.retry.begin()
        entries = self._list(call, rel)
        target = Path(local_dir)
        with writing(target):
            target.mkdir(parents=True, exist_ok=True)
        files = [
            (join(rel, name), entry, target / name)
            for name, entry in entries.items()
            if wanted is None or wanted(name, entry.size)
        ]
        download_files(call, self.backend, self.location, files)

    def _list(self, call: Call, rel: str) -> dict[str, Entry]:
        check_relative(rel)
        found: dict[str, Entry] = {}
        page = ""
        while True:
            try:
                request = partial(self.backend.list_page, rel, page)
                entries, page = call.run("list", self._url(rel), request)
            except NotFound:
                entries, page = {}, ""  # the directory does not exist
            found |= entries
            if not page:
                break
        start = len(rel) + 1 if rel else 0
        try:
            return {check_relative(name[start:]): found[name] for name in sorted(found)}
        except ValueError as error:
            raise StorageError(f"cannot use the files below {self._url(rel)}: {error}.") from error

    def _delete(self, call: Call, rels: Sequence[str]) -> None:
        delete = self.backend.delete
        run_all([partial(self._run_delete, call, rel, partial(delete, rel)) for rel in rels])

    def _request(self, doing: str, rel: str, request: Callable[[float], T], size: int = 0) -> T:
        return self.retry.begin().run(doing, self._url(rel), request, size)

    def _run_delete(self, call: Call, rel: str, request: Callable[[float], None]) -> None:
        try:
            call.run("delete", self._url(rel), request)
        except NotFound:
            return

    def _url(self, rel: str) -> str:
        return (self.location / rel).url


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
    return Store(location, _backend_of(location), retry)


def _backend_of(location: Location) -> Backend:
    if location.is_local:
        return LocalBackend(location)
    # Most trials use local files only, and these modules take long to import.
    from prefect_tune.filesystem.connect import check_protocol, protocol_of
    from prefect_tune.filesystem.providers import S3_PROTOCOLS

    protocol = protocol_of(location)
    check_protocol(protocol, "storage_path")
    if protocol in S3_PROTOCOLS:
        from prefect_tune.filesystem.s3 import S3Backend

        return S3Backend(location)
    from prefect_tune.filesystem.fsspec_backend import FsspecBackend

    return FsspecBackend(location)
