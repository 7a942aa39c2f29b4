"""`Store` on a remote file system, with retries and parallel transfers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from prefect_tune.error import StorageError
from prefect_tune.filesystem.backend import (
    Backend,
    Entry,
    Upload,
    max_parallel_parts,
    part_ranges,
    part_size,
)
from prefect_tune.filesystem.failures import NotFound, classify
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Call, Retry
from prefect_tune.filesystem.store import (
    Wanted,
    check_relative,
    join,
    local_files,
    split_last,
    temporary_name,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(eq=False)
class RemoteStore:
    """`Store` on a remote file system.

    Args:
        location: The remote directory.
        backend: Makes the requests, without retries.
        retry: Retries requests that fail temporarily.
    """

    location: Location
    backend: Backend
    retry: Retry

    def read(self, rel: str) -> bytes | None:
        check_relative(rel)
        try:
            return self._request("read", rel, partial(self.backend.read, rel))
        except NotFound:
            return None

    def write(self, rel: str, data: bytes) -> None:
        check_relative(rel)
        self._request("write", rel, partial(self.backend.write, rel, data), size=len(data))

    def sizes(self, rel: str = "") -> dict[str, int]:
        return {name: entry.size for name, entry in self._list(self.retry.begin(), rel).items()}

    def exists(self, rel: str) -> bool:
        check_relative(rel)
        try:
            self._request("look for", rel, partial(self.backend.stat, rel))
        except NotFound:
            return False
        return True

    def delete(self, rels: Iterable[str]) -> None:
        self._delete(self.retry.begin(), [check_relative(rel) for rel in rels])

    def delete_tree(self, rel: str) -> None:
        call = self.retry.begin()
        self._delete(call, [join(rel, name) for name in self._list(call, rel)])
        self._run_delete(call, rel, partial(self.backend.remove_directories, rel))

    def put_file(self, local: str | os.PathLike[str], rel: str) -> None:
        self._put(self.retry.begin(), [(Path(local), check_relative(rel))])

    def get_file(self, rel: str, local: str | os.PathLike[str]) -> None:
        check_relative(rel)
        call = self.retry.begin()
        entry = call.run("read", self._url(rel), partial(self.backend.stat, rel))
        self._get(call, [(rel, entry, Path(local))])

    def put_tree(
        self,
        local_dir: str | os.PathLike[str],
        rel: str,
        last: Iterable[str] = (),
        names: Iterable[str] | None = None,
    ) -> None:
        source = Path(local_dir)
        call = self.retry.begin()
        if names is None:
            names = call.run("read", str(source), lambda timeout: local_files(source))
        first, at_the_end = split_last(names, last)
        self._put(call, [(source / name, join(check_relative(rel), name)) for name in first])
        for name in at_the_end:
            self._put(call, [(source / name, join(rel, name))])

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        call = self.retry.begin()
        entries = self._list(call, rel)
        target = Path(local_dir)
        _on_local_disk(target, partial(target.mkdir, parents=True, exist_ok=True))
        chosen = {
            name: entry
            for name, entry in entries.items()
            if wanted is None or wanted(name, entry.size)
        }
        self._get(call, [(join(rel, n), entry, target / n) for n, entry in chosen.items()])

    def _list(self, call: Call, rel: str) -> dict[str, Entry]:
        check_relative(rel)
        found: dict[str, Entry] = {}
        page = ""
        while True:
            try:
                request = partial(self.backend.list, rel, page)
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

    def _put(self, call: Call, files: Sequence[tuple[Path, str]]) -> None:
        """Upload files, with the parts of all files in one thread pool."""
        uploads: list[tuple[str, Upload]] = []
        send = partial(call.run, "write")

        def begin(local: Path, rel: str) -> None:
            try:
                size = local.stat().st_size
            except OSError as error:
                raise StorageError(f"cannot read {local}: {error.strerror}.") from error
            url = self._url(rel)
            uploads.append((url, send(url, partial(self.backend.begin_upload, local, size, rel))))

        try:
            run_all([partial(begin, local, rel) for local, rel in files])
            parts = [(url, part) for url, upload in uploads for part in upload.parts]
            largest = max((part.size for _, part in parts), default=0)
            run_all(
                [partial(send, url, part.send, part.size) for url, part in parts],
                max_parallel_parts(largest),
            )
            run_all([partial(send, url, upload.finish) for url, upload in uploads])
        except BaseException:
            for url, upload in uploads:
                _abort(upload, url)
            raise

    def _get(self, call: Call, files: Sequence[tuple[str, Entry, Path]]) -> None:
        temporary = [local.with_name(temporary_name(local.name)) for _, _, local in files]
        try:
            jobs: list[Callable[[], None]] = []
            for (rel, entry, _), new in zip(files, temporary, strict=True):
                _make_file(new, entry.size)
                jobs += [
                    partial(self._fetch_part, call, rel, entry, begin, end, new)
                    for begin, end in part_ranges(entry.size)
                ]
            sizes = [entry.size for _, entry, _ in files]
            largest = max((min(size, part_size(size)) for size in sizes), default=0)
            run_all(jobs, max_parallel_parts(largest))
            for (_, _, local), new in zip(files, temporary, strict=True):
                _on_local_disk(new, partial(os.replace, new, local))
        except BaseException:
            for new in temporary:
                new.unlink(missing_ok=True)
            raise

    def _fetch_part(
        self, call: Call, rel: str, entry: Entry, begin: int, end: int, local: Path
    ) -> None:
        request = partial(self.backend.read_range, rel, begin, end, entry.version)
        data = call.run("read", self._url(rel), request, end - begin)
        _on_local_disk(local, partial(_write_at, local, begin, data))

    def _request(self, doing: str, rel: str, request: Callable[[float], T], size: int = 0) -> T:
        return self.retry.begin().run(doing, self._url(rel), request, size)

    def _run_delete(self, call: Call, rel: str, request: Callable[[float], None]) -> None:
        try:
            call.run("delete", self._url(rel), request)
        except NotFound:
            return

    def _url(self, rel: str) -> str:
        return (self.location / rel).url


def run_all(jobs: Sequence[Callable[[], None]], max_threads: int = 8) -> None:
    """Run jobs in parallel; after a failure start no further job.

    Args:
        jobs: The functions to call.
        max_threads: How many jobs run at the same time.

    Raises:
        Exception: The first failure, once all running jobs have ended.
    """
    if len(jobs) == 1:
        jobs[0]()
        return
    with ThreadPoolExecutor(min(max_threads, len(jobs) or 1), "storage") as pool:
        futures = [pool.submit(job) for job in jobs]
        _, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        if waiting:
            pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            if not future.cancelled():
                future.result()


def _abort(upload: Upload, url: str) -> None:
    try:
        upload.abort(10.0)
    except Exception as error:
        # The caller gets the error of the failed upload; these parts are invisible.
        log.debug("Parts of %s were left behind: %s", url, classify(error).text)


def _make_file(path: Path, size: int) -> None:
    def make() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            # Reserve space for the whole file, so that a full disk is found before the transfer.
            if size:
                os.posix_fallocate(file.fileno(), 0, size)

    _on_local_disk(path, make)


def _write_at(path: Path, start: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(data)


def _on_local_disk(path: Path, action: Callable[[], T]) -> T:
    """Run an operation on the local disk, without retries.

    Raises:
        StorageError: If the operation fails; the message says why.
    """
    try:
        return action()
    except OSError as error:
        failure = classify(error)
        raise failure.as_error("write", str(path)) from error
